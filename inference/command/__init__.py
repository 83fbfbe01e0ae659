"""The engine from the command line, without the site: chat, bench, info and fidelity."""
