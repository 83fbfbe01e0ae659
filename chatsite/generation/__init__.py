"""What was measured: one Generation per request, one Attempt per try. Knows no other app."""
