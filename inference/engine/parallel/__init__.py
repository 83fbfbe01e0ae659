"""One model split over several processes by transformers' tensor parallel plan."""
