# hardmine: set-up, build, tests, and one target for each row of the paper's tables. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

include lib/experiments/settings.mk

# OpenMP's threads spin while they wait: less than they would, for what runs beside them (a pipe, make -j).
export GOMP_SPINCOUNT ?= 100000

DEPS := .deps

.PHONY: help setup build install uninstall wheel table report data-passage data-doc lint test

## help: this list
help:
	@sed -n 's/^## //p' Makefile tests/rules.mk | sed 's/^\([^:]*\): /  \1\t/' | expand -t 22
	@echo; echo "Settings, with their defaults (the paper's); settings.mk in lib/experiments says what each is for:"
	@sed -n '/= *\$$(/d; s/^\([A-Z_]*\) ?= */  \1=/p' lib/experiments/settings.mk
	@echo; echo "Settings of beir and collection; collection.mk says what each is for:"
	@sed -n '/= *\$$(/d; s/^\([A-Z_]*\) ?= */  \1=/p' lib/experiments/collection.mk lib/experiments/exchange.mk

# ---- set-up and build -------------------------------------------------------------------------------------

# What the user gives wins: LIBTORCH, or the PyTorch of LIBTORCH_USE_PYTORCH=1.
ifdef LIBTORCH_USE_PYTORCH
TORCH_LIB := $(shell python3 -c 'import os, torch; print(os.path.dirname(torch.__file__) + "/lib")')
else ifdef LIBTORCH
TORCH_LIB := $(LIBTORCH)/lib
else
TORCH_LIB := $(DEPS)/torch/lib
SETUP_TORCH := $(DEPS)/torch/build-version
endif

## setup: fetch libtorch, CMake and BLAS from PyPI into .deps (once; 580 MB to download, 600 MB on disk)
setup: $(SETUP_TORCH) $(DEPS)/cmake/bin/cmake $(DEPS)/blas/lib/liblapack.so

FETCH := python3 lib/scripts/fetch.py
$(DEPS)/torch/build-version: ; $(FETCH) torch
$(DEPS)/cmake/bin/cmake: ; $(FETCH) cmake
$(DEPS)/blas/lib/liblapack.so: $(SETUP_TORCH) ; $(FETCH) blas $(TORCH_LIB)
$(DEPS)/minilm/config.json: ; $(FETCH) model
$(DEPS)/mpnet/config.json: ; $(FETCH) mpnet
$(DEPS)/azure-cli/__main__.py: ; $(FETCH) azure-cli
$(DEPS)/patchelf/patchelf: ; $(FETCH) patchelf

## build: build the binaries into $CARGO_TARGET_DIR/release (first time 20 to 30 minutes on two cores)
build: setup
	cargo build --release --bins

PREFIX ?= /usr/local
BINARIES := $(basename $(notdir $(wildcard bins/*.rs)))
INSTALLED := $(DESTDIR)$(PREFIX)

## install: build, and copy binaries, man pages and shell completions into PREFIX (/usr/local); .deps must stay, for libtorch
install: build
	install -d $(INSTALLED)/bin $(INSTALLED)/share/doc/hardmine
	install $(BINARIES:%=$(BIN)/%) $(INSTALLED)/bin
	install -m 644 README.md LICENSE-MIT LICENSE-APACHE $(INSTALLED)/share/doc/hardmine
	cargo run --quiet --release --example manual -- $(INSTALLED)/share

## uninstall: remove from PREFIX what install put there
uninstall:
	rm -rf $(BINARIES:%=$(INSTALLED)/bin/%) $(INSTALLED)/share/doc/hardmine
	cd $(INSTALLED)/share && rm -f $(foreach name,$(BINARIES),man/man1/$(name).1 bash-completion/completions/$(name) \
	  fish/vendor_completions.d/$(name).fish zsh/site-functions/_$(name)) man/man1/train-*.1

## wheel: pack the binaries into dist/hardmine-*.whl, for pip; installed, they take libtorch from torch 2.11.0
wheel: build $(DEPS)/patchelf/patchelf
	python3 lib/scripts/wheel.py $(BIN) dist

# ---- experiments: lib/experiments/rules.mk has the rules --------------------------------------------------------

## passage-ROW: one row of the passage table; rows: inbatch-neg rand-neg star adore-inbatch-neg adore-rand-neg adore-star
## doc-ROW: the same of the document table
## passage-bm25: the row of BM25, without a model; passage-bm25-neg: a model trained on its negatives; passage-star+bm25: both lists fused
## passage: all six rows from DATA, INIT into OUT, and their table
## doc: the same for documents
## beir, beir-ROW: the same for DATA in BEIR's layout: corpus.jsonl, queries.jsonl and qrels; ROW may also be start
## collection, collection-ROW: the same for any files: DOCS, QUERIES, TRAIN_QRELS, DEV_QRELS, TEST_QRELS
## TASK-export-TRAINER: a task's training data with texts, for sentence-transformers, flagembedding or tevatron
## passage-leaderboard: runs of the six rows for the leaderboard's queries, in the form that is handed in
## doc-leaderboard: the same for documents
## reproduce-passage: score the authors' checkpoints STAR and ADORE_STAR, beside the published figures
## reproduce-doc: the same for documents
## passage-opq-M, passage-jpq-M, passage-repconc-M: documents as codes of M bytes, for M = 96, 64, 48, 32, 24, 16
## passage-compressed, doc-compressed: all of these, and their table
## reproduce-passage-jpq, reproduce-doc-jpq: score the authors' JPQ with its JPQ_INDEX of M bytes a document
## passage-ance: ROUNDS of encoding, searching, mining and training, each from the last one's model, and their table
## doc-ance: the same for documents
## quickstart: the whole pipeline on a small real collection: data, model, all rows, the table (minutes)
## quickstart-cosine: its second form: trained by InfoNCE with a temperature, and compared by cosine
## quickstart-compressed: the quick start's collection as codes of 96, 48 and 24 bytes a document: OPQ, JPQ and RepCONC
## cluster-demo: the quick start by a scheduler and three workers on this machine, one of which is killed on the way
## quickstart-ance: ROUNDS of mining and training on the quick start's collection
## quickstart-mining: the quick start's STAR with negatives by several rules, and their table
all_rows := $(ROWS) $(MORE_ROWS) $(GIVEN_ROWS) $(LEXICAL_ROWS) $(ANCE_ROWS) ance $(COMPRESSED_ROWS) compressed
tasks := passage doc beir collection
passage_goals := passage $(all_rows:%=passage-%) passage-leaderboard reproduce-passage reproduce-passage-jpq $(TRAINERS:%=passage-export-%)
doc_goals := doc $(all_rows:%=doc-%) doc-leaderboard reproduce-doc reproduce-doc-jpq $(TRAINERS:%=doc-export-%)
beir_goals := beir $(all_rows:%=beir-%) $(TRAINERS:%=beir-export-%)
collection_goals := collection $(all_rows:%=collection-%) $(TRAINERS:%=collection-export-%)
.PHONY: cluster-demo $(passage_goals) $(doc_goals) $(beir_goals) $(collection_goals) quickstart quickstart-cosine quickstart-mining $(all_rows:%=quickstart-%)
$(passage_goals): rows-of-passage ; @:
$(doc_goals): rows-of-doc ; @:
$(beir_goals): rows-of-beir ; @:
$(collection_goals): rows-of-collection ; @:
$(all_rows:%=quickstart-%): rows-of-quickstart ; @:
$(OUT)/passage/%: rows-of-passage ; @:
$(OUT)/doc/%: rows-of-doc ; @:
$(OUT)/beir/%: rows-of-beir ; @:
$(OUT)/collection/%: rows-of-collection ; @:

quickstart: rows-of-quickstart
	@cp -p $(QUICKSTART)/passage/table.tsv $(QUICKSTART)/passage/table.parquet $(QUICKSTART)/
	+@$(call REPORT,quickstart,$(QUICKSTART)/passage)
	@sed 's|BIN|$(BIN)|; s|QUICKSTART|$(QUICKSTART)|g' lib/experiments/next.txt

cluster-demo: build
	MAKE="$(MAKE)" python3 lib/scripts/cluster_demo.py $(BIN) out/cluster-demo $(QUICKSTART)

quickstart-cosine: rows-of-quickstart-cosine ; @:

quickstart-mining: build $(DEPS)/minilm/config.json $(QUICKSTART)/data/collection.tsv
	+@$(MAKE) -f lib/experiments/rules.mk TASK=$@ $@-sweep

# All that is wanted of a task is made by one make, so that rows that are made side by side (-j) share what they have
# in common. A dry run first finds what is missing, before a long build and days of training.
wanted = $(filter $* $(addprefix $*-,leaderboard $(all_rows)) reproduce-$* reproduce-$*-jpq $*-export-% $(OUT)/$*/%,$(MAKECMDGOALS:./%=%))
EXPERIMENT = $(MAKE) -f lib/experiments/rules.mk TASK=$* $(if $(filter reproduce-%,$(wanted)),PAPER=yes) $(wanted)

.PHONY: $(tasks:%=check-%) $(tasks:%=rows-of-%) rows-of-quickstart rows-of-quickstart-cosine
$(tasks:%=check-%): check-%:
	+@$(EXPERIMENT) -n CHECK=yes > /dev/null

$(tasks:%=rows-of-%): rows-of-%: $(if $(SHOWN),,check-%) build
rows-of-quickstart rows-of-quickstart-cosine: build $(DEPS)/minilm/config.json $(QUICKSTART)/data/collection.tsv
$(tasks:%=rows-of-%) rows-of-quickstart rows-of-quickstart-cosine: rows-of-%:
	+@$(EXPERIMENT)

## table: the tables that have been made so far (PAPER=yes: beside the published figures)
table: build
	@made=; for task in $(tasks); do \
	  [ ! -e $(OUT)/$$task/table.parquet ] || { made=1; $(MAKE) -f lib/experiments/rules.mk TASK=$$task $$task-table; }; \
	done; [ "$$made" ] || echo "make: no table in $(OUT) yet; make passage or make doc makes one"

## report: one HTML page for each folder of results in OUT: the table, curves, two rows query by query, what it all took
report: build
	@made=; for task in $(tasks); do \
	  [ ! -d $(OUT)/$$task ] || { made=1; $(call REPORT,$$task,$(OUT)/$$task) && echo "$(OUT)/$$task/report.html"; } || exit 1; \
	done; [ "$$made" ] || echo "make: no results in $(OUT) yet; make passage or make doc makes some"

# The report of a task. Its folder knows which collection it was made of.
REPORT = $(MAKE) -f lib/experiments/rules.mk TASK=$(1) $(1)-report \
	  $$(cat $(2)/tokens.settings $(2)/judged.settings 2> /dev/null | sed 's/^STORE=/DATA=/' | grep -E '^(DATA|DOCS|[A-Z_]*(QUERIES|QRELS|COLUMNS|SHARE|_ID|_TEXT))=' | sort -u)

# ---- data -------------------------------------------------------------------------------------------------

## data-passage: fetch MS MARCO's passages and TREC DL 2019 into DATA, and check every file's rows (5 GB of disk)
## data-doc: the same of documents (31 GB of disk)
data-passage data-doc: data-%:
	python3 lib/scripts/msmarco.py $* $(DATA) $(if $(MSMARCO),--from $(MSMARCO)) $(if $(TREC),--trec-from $(TREC)) \
	  $(if $(MSMARCO_ROWS),--rows $(MSMARCO_ROWS))

## import-TRAINER: turn training data FROM=file.jsonl of a trainer into DATA, in BEIR's layout with negatives.parquet
imports := $(TRAINERS:%=import-%)
.PHONY: $(imports)
$(imports): import-%: build
	@: $(if $(FROM),,$(error no training data; hint: FROM=file.jsonl names it))
	@: $(if $(wildcard $(DATA)/*),$(error $(DATA) has files in it already; hint: DATA=folder names a new folder))
	mkdir -p $(DATA)/qrels
	for file in queries.jsonl corpus.jsonl qrels/train.tsv negatives.parquet; do \
	  name=$${file%.*}; $(BIN)/sql -t data=$(FROM) -f lib/evaluation/sql/import/$*/$${name%/*}.sql -o $(DATA)/$$file; \
	done

$(QUICKSTART)/data/collection.tsv: $(DEPS)/azure-cli/__main__.py lib/scripts/quickstart.py
	python3 lib/scripts/quickstart.py $(DEPS)/azure-cli $(@D)

# ---- tests ------------------------------------------------------------------------------------------------

## lint: formatting, lints, documentation that builds without warnings, and licences and duplicates of what we depend on
lint: setup
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo clippy --release --no-default-features --features faiss-gpu -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --release --workspace --lib --no-deps
	@if ! cargo deny --version > /dev/null 2>&1; then \
	  echo "make: licences and duplicates were not checked; hint: cargo install --locked cargo-deny"; \
	else cargo deny check licenses bans sources; fi

## test: lint, unit tests, and the real binaries on small real files (fetches a server for object stores from PyPI)
test: lint $(DEPS)/stores/installed
	cargo test --release --workspace --no-fail-fast

# Torture, fuzzing, other programs on our files, and benchmarks.
include tests/rules.mk
