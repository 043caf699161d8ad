# What is run by hand, before a release or after a large change. `make test` runs none of it.

## torture: damage inputs and kill commands at random for TORTURE_SECONDS (600); SEED_OF_TORTURE=N repeats one
.PHONY: torture
torture: build
	BIN=$(BIN) python3 tests/torture/torture.py $(SEED_OF_TORTURE)

FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))

## fuzz: each reader on damaged bytes, FUZZ_SECONDS each (60); needs `cargo install cargo-fuzz`
.PHONY: fuzz
fuzz: build
	BIN=$(BIN) python3 tests/fuzz/seeds.py
	cp Cargo.lock tests/fuzz/
	@# Its instrumentation is an unstable option of the compiler, which the variable allows on stable Rust.
	for target in $(FUZZ_TARGETS); do \
	  LD_LIBRARY_PATH=$(abspath $(TORCH_LIB)) RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none $$target -- \
	    -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=1000000 -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20; \
	done

## neighbours: pyarrow, DuckDB, faiss, ir_measures, transformers and sentence-transformers open our files (4 GB of packages, 0.4 GB of a model)
.PHONY: neighbours
neighbours: build $(DEPS)/minilm/config.json $(DEPS)/mpnet/config.json $(DEPS)/neighbours/installed $(QUICKSTART)/data/collection.tsv
	BIN=$(BIN) MODEL=$(DEPS)/minilm MPNET=$(DEPS)/mpnet TEXTS=$(QUICKSTART)/data/collection.tsv $(DEPS)/neighbours/bin/python tests/neighbours/test_neighbours.py

## bench: ours beside what users would pick instead, one table in out/bench (an hour; 4 GB of packages, 11 GB of data)
## bench-STAGE: one stage, never two at a time (-j): tokenize embed embed-bf16 embed-int8 train-star train-adore rank rank-limit compressed lexical mine-negatives score memory beside growth cluster quickstart
## bench-gpu: what a GPU is for, on BENCH_DEVICE (cuda)
BENCHES := bench $(subst _,-,$(patsubst tests/bench/stages/%.py,bench-%,$(wildcard tests/bench/stages/*.py)))
.PHONY: $(BENCHES)
bench-gpu: export BENCH_DEVICE ?= cuda
$(BENCHES): bench%: build $(DEPS)/bench/installed $(DEPS)/minilm/config.json $(QUICKSTART)/data/collection.tsv
	BIN=$(BIN) $(DEPS)/bench/bin/python tests/bench/bench.py $(*:-%=%)

# The server that plays an object store in tests; it needs no environment of its own.
$(DEPS)/stores/installed: tests/stores/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --target $(@D) --upgrade -r $<
	@touch $@

$(DEPS)/%/installed: tests/%/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
