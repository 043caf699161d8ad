# hardmine: set-up, build, tests, and one target for each row of the paper's tables. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

# OpenMP's threads spin while they wait: less than they would, for what runs beside them (a pipe, make -j).
export GOMP_SPINCOUNT ?= 100000

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := $(TARGET)/release
DEPS := .deps

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' Makefile | sed 's/^\([^:]*\): /  \1\t/' | expand -t 22
	@echo; echo "Settings, with their defaults (the paper's); the Makefile says what each is for:"
	@sed -n '/= *\$$(/d; s/^\([A-Z_]*\) ?= */  \1=/p' Makefile

# ---- set-up -----------------------------------------------------------------------------------------------

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
.PHONY: setup
setup: $(SETUP_TORCH) $(DEPS)/cmake/bin/cmake $(DEPS)/blas/lib/liblapack.so

$(DEPS)/torch/build-version:
	python3 lib/fetch.py torch

$(DEPS)/cmake/bin/cmake:
	python3 lib/fetch.py cmake

$(DEPS)/blas/lib/liblapack.so: $(SETUP_TORCH)
	python3 lib/fetch.py blas $(TORCH_LIB)

## build: build the binaries into $CARGO_TARGET_DIR/release (first time 25 to 40 minutes on two cores)
.PHONY: build
build: setup
	cargo build --release --bins

# ---- one table row, from a folder in MS MARCO's layout ----------------------------------------------------

# The collection, the starting model (its tokenizer makes the tokens), where results go.
DATA ?= data
INIT ?= model
OUT ?= out
# Mirrors of MS MARCO's files and of TREC's judgements (URL or folder) for data-passage and data-doc, and the rows
# of each file (TSV: name, rows) where a mirror holds another collection.
MSMARCO ?=
TREC ?=
MSMARCO_ROWS ?=
DEVICE ?= auto
PRECISION ?= f32
SEED ?= 42
# Where STAR starts, and whose run its negatives are mined from; a BM25 warm-up model, say. Rand-Neg if not given.
INIT_STAR ?=
# The authors' checkpoints, for reproduce-passage and reproduce-doc; another pair needs another OUT.
STAR ?=
ADORE_STAR ?=

# Tokens kept: when encoding for retrieval, and in training.
PASSAGE_LENGTH ?= 256
DOCUMENT_LENGTH ?= 512
QUERY_LENGTH ?= 32
ADORE_QUERY_LENGTH ?= 64
TRAIN_PASSAGE_LENGTH ?= 120
TRAIN_DOCUMENT_LENGTH ?= 512
TRAIN_QUERY_LENGTH ?= 24

# Inbatch-Neg, Rand-Neg and STAR.
OPTIMIZER ?= lamb
LEARNING_RATE ?= 1e-4
WARMUP_STEPS ?= 1000
BATCH_SIZE ?= 256
STEPS ?= 50000
RAND_NUM ?= 1
HARD_NUM ?= 1
NEGATIVES ?= 200
# How much longer than NEGATIVES the mined lists are: room for a query's relevant documents.
MARGIN ?= 50

# ADORE.
ADORE_OPTIMIZER ?= adamw
ADORE_LEARNING_RATE ?= 5e-6
ADORE_WARMUP_STEPS ?= 2000
ADORE_BATCH_SIZE ?= 32
ADORE_EPOCHS ?= 6
ADORE_STEPS ?=
ADORE_TOP_K ?= 200
METRIC_CUT ?= 200

# Documents a query in a run.
TOP_K ?= 1000

# Whether tables stand beside the paper's figures, which are those of MS MARCO; no for another collection.
PUBLISHED ?= yes
COMPARED := $(filter-out no,$(PUBLISHED))

# Texts encoded at once in training, where a whole batch doesn't fit the memory: the same step, a third slower.
CHUNK_SIZE ?=

# The published checkpoints need RoBERTa's tokens as transformers 2 made them.
COMPAT ?= $(if $(wildcard $(INIT)/merges.txt),--compat transformers-2)

WARM_ROWS := inbatch-neg rand-neg star
ADORE_ROWS := $(addprefix adore-,$(WARM_ROWS))
ROWS := $(WARM_ROWS) $(ADORE_ROWS)
TABLE_ROWS ?= $(ROWS)
# The row whose model STAR starts from and whose run is mined.
STAR_FROM := $(if $(INIT_STAR),warm-up,rand-neg)
PUBLISHED_ROWS := published-star published-adore-star
# Rows whose models are not trained here.
GIVEN := start warm-up $(PUBLISHED_ROWS)

# A file of DATA, packed or not.
data = $(firstword $(wildcard $(DATA)/$(1) $(DATA)/$(1).gz $(DATA)/$(1).zst) $(DATA)/$(1))

passage_docs := $(call data,collection.tsv)
passage_kind := passage
passage_train := $(call data,queries.train.tsv)
passage_train_qrels := $(call data,qrels.train.tsv)
passage_dev := $(call data,queries.dev.small.tsv)
passage_dev_qrels := $(call data,qrels.dev.small.tsv)
passage_test := $(call data,msmarco-test2019-queries.tsv)
passage_test_qrels := $(call data,2019qrels-pass.txt)
passage_length = $(PASSAGE_LENGTH)
passage_train_length = $(TRAIN_PASSAGE_LENGTH)
passage_metric_cut = $(METRIC_CUT)
passage_mrr := MRR@10
passage_leaderboard := $(call data,queries.eval.small.tsv)
passage_leaderboard_top_k = $(TOP_K)

doc_docs := $(call data,msmarco-docs.tsv)
doc_kind := document
doc_train := $(call data,msmarco-doctrain-queries.tsv)
doc_train_qrels := $(call data,msmarco-doctrain-qrels.tsv)
doc_dev := $(call data,msmarco-docdev-queries.tsv)
doc_dev_qrels := $(call data,msmarco-docdev-qrels.tsv)
doc_test := $(call data,msmarco-test2019-queries.tsv)
doc_test_qrels := $(call data,2019qrels-docs.txt)
doc_length = $(DOCUMENT_LENGTH)
doc_train_length = $(TRAIN_DOCUMENT_LENGTH)
doc_metric_cut =
doc_mrr := MRR@100
doc_leaderboard := $(call data,docleaderboard-queries.tsv)
doc_leaderboard_top_k := 100

# Settings shared by the rows of one kind.
TRAIN = --optimizer $(OPTIMIZER) --learning-rate $(LEARNING_RATE) --warmup-steps $(WARMUP_STEPS) \
	--batch-size $(BATCH_SIZE) --steps $(STEPS) --max-query-length $(TRAIN_QUERY_LENGTH) \
	$(if $(CHUNK_SIZE),--chunk-size $(CHUNK_SIZE)) --precision $(PRECISION) --device $(DEVICE) --seed $(SEED)
TRAIN_ADORE = --optimizer $(ADORE_OPTIMIZER) --learning-rate $(ADORE_LEARNING_RATE) --warmup-steps $(ADORE_WARMUP_STEPS) \
	--batch-size $(ADORE_BATCH_SIZE) --epochs $(ADORE_EPOCHS) $(if $(ADORE_STEPS),--steps $(ADORE_STEPS)) \
	--top-k $(ADORE_TOP_K) --max-query-length $(ADORE_QUERY_LENGTH) --device $(DEVICE) --seed $(SEED)
EMBED = $(BIN)/embed --device $(DEVICE) --precision $(PRECISION)

# $(call search,form,row,row whose documents are searched,query length,split,top-k,options of embed)
define search
	@mkdir -p $(@D)
	$(EMBED) --model $(OUT)/$(1)/models/$(2) --max-length $(4) $(7) $(OUT)/$(1)/tokens/$(5).arrow \
	| $(BIN)/rank --index $(OUT)/$(1)/embeddings/$(3).arrow --top-k $(6) --device $(DEVICE) \
	| $(BIN)/remap-ids --to official --queries $(OUT)/$(1)/tokens/$(5).arrow --docs $(OUT)/$(1)/tokens/docs.arrow -o $@
endef

# $(call row_rules,form,row,row whose documents are searched,query length,options of embed): encode the queries,
# search, score.
define row_rules
# The queries first: what is missing is found before days of training.
$(OUT)/$(1)/runs/$(2).%.parquet: $(OUT)/$(1)/tokens/%.arrow $(OUT)/$(1)/models/$(2)/config.json $(OUT)/$(1)/embeddings/$(3).arrow | build
	$$(call search,$(1),$(2),$(3),$(4),$$*,$(TOP_K),$(5))

# In the form that is handed in.
$(OUT)/$(1)/runs/$(2).leaderboard.tsv: $(OUT)/$(1)/tokens/leaderboard.arrow $(OUT)/$(1)/models/$(2)/config.json $(OUT)/$(1)/embeddings/$(3).arrow | build
	$$(call search,$(1),$(2),$(3),$(4),leaderboard,$($(1)_leaderboard_top_k),$(5))

$(OUT)/$(1)/metrics/$(2).dev.parquet: $(OUT)/$(1)/runs/$(2).dev.parquet $($(1)_dev_qrels)
	@mkdir -p $$(@D)
	$(BIN)/score --qrels $($(1)_dev_qrels) -m $($(1)_mrr) -m R@100 --per-query $$@ $$<

$(OUT)/$(1)/metrics/$(2).test.parquet: $(OUT)/$(1)/runs/$(2).test.parquet $($(1)_test_qrels)
	@mkdir -p $$(@D)
	$(BIN)/score --qrels $($(1)_test_qrels) --order score -m nDCG@10 --per-query $$@ $$<

.PHONY: $(1)-$(2)
$(1)-$(2): $(OUT)/$(1)/tokens/dev.arrow $(OUT)/$(1)/tokens/test.arrow $(OUT)/$(1)/metrics/$(2).dev.parquet $(OUT)/$(1)/metrics/$(2).test.parquet
endef

# $(call warm_rules,form,row): the documents are encoded by the row's own model.
define warm_rules
$(call row_rules,$(1),$(2),$(2),$(QUERY_LENGTH))

$(OUT)/$(1)/embeddings/$(2).arrow: $(OUT)/$(1)/models/$(2)/config.json $(OUT)/$(1)/tokens/docs.arrow | build
	@mkdir -p $$(@D)
	$(EMBED) --model $(OUT)/$(1)/models/$(2) --max-length $($(1)_length) $(OUT)/$(1)/tokens/docs.arrow -o $$@
endef

# $(call adore_rules,form,row): the query encoder of another row is trained against that row's documents.
define adore_rules
$(call row_rules,$(1),adore-$(2),$(2),$(ADORE_QUERY_LENGTH))

$(OUT)/$(1)/models/adore-$(2)/config.json: $(OUT)/$(1)/models/$(2)/config.json $(OUT)/$(1)/embeddings/$(2).arrow $(OUT)/$(1)/qrels/train.parquet | build
	$(BIN)/train adore --init $(OUT)/$(1)/models/$(2) --queries $(OUT)/$(1)/tokens/train.arrow \
	  --qrels $(OUT)/$(1)/qrels/train.parquet --embeddings $(OUT)/$(1)/embeddings/$(2).arrow \
	  $(TRAIN_ADORE) $(if $($(1)_metric_cut),--metric-cut $($(1)_metric_cut)) -o $$(@D)
endef

# $(call form_rules,form): everything of one task, passages or documents.
define form_rules
$(OUT)/$(1)/tokens/docs.arrow: $($(1)_docs) | build
	@mkdir -p $$(@D)
	$(BIN)/tokenize --tokenizer $(INIT) $(COMPAT) --kind $($(1)_kind) $$< -o $$@

$(OUT)/$(1)/tokens/train.arrow: $($(1)_train) $($(1)_train_qrels) | build
$(OUT)/$(1)/tokens/dev.arrow: $($(1)_dev) $($(1)_dev_qrels) | build
$(OUT)/$(1)/tokens/test.arrow: $($(1)_test) $($(1)_test_qrels) | build
$(OUT)/$(1)/tokens/train.arrow $(OUT)/$(1)/tokens/dev.arrow $(OUT)/$(1)/tokens/test.arrow:
	@mkdir -p $$(@D)
	$(BIN)/tokenize --tokenizer $(INIT) $(COMPAT) --kind query --judged $$(word 2,$$^) $$< -o $$@

$(OUT)/$(1)/tokens/leaderboard.arrow: $($(1)_leaderboard) | build
	@mkdir -p $$(@D)
	$(BIN)/tokenize --tokenizer $(INIT) $(COMPAT) --kind query $$< -o $$@

$(OUT)/$(1)/qrels/train.parquet: $($(1)_train_qrels) $(OUT)/$(1)/tokens/train.arrow $(OUT)/$(1)/tokens/docs.arrow
	@mkdir -p $$(@D)
	$(BIN)/remap-ids --to internal --queries $(OUT)/$(1)/tokens/train.arrow --docs $(OUT)/$(1)/tokens/docs.arrow $$< -o $$@

# Models that are taken as they are.
$(OUT)/$(1)/models/start/config.json: $(INIT)/config.json
$(OUT)/$(1)/models/warm-up/config.json: $(INIT_STAR)/config.json
$(OUT)/$(1)/models/published-star/config.json: $(STAR)/config.json
$(OUT)/$(1)/models/published-adore-star/config.json: $(ADORE_STAR)/config.json
# Never deleted by make, which would reach through the link.
.PRECIOUS: $(GIVEN:%=$(OUT)/$(1)/models/%/config.json)
$(GIVEN:%=$(OUT)/$(1)/models/%/config.json):
	@mkdir -p $(OUT)/$(1)/models
	ln -sfn $$(abspath $$(<D)) $$(@D)

train_inputs_$(1) := $(OUT)/$(1)/tokens/docs.arrow $(OUT)/$(1)/tokens/train.arrow $(OUT)/$(1)/qrels/train.parquet
train_options_$(1) := --docs $(OUT)/$(1)/tokens/docs.arrow --queries $(OUT)/$(1)/tokens/train.arrow \
	--qrels $(OUT)/$(1)/qrels/train.parquet --max-doc-length $($(1)_train_length)

$(OUT)/$(1)/models/inbatch-neg/config.json: $(INIT)/config.json $$(train_inputs_$(1)) | build
	@mkdir -p $(OUT)/$(1)/models
	$(BIN)/train inbatch --init $(INIT) $$(train_options_$(1)) $(TRAIN) -o $$(@D)

$(OUT)/$(1)/models/rand-neg/config.json: $(INIT)/config.json $$(train_inputs_$(1)) | build
	@mkdir -p $(OUT)/$(1)/models
	$(BIN)/train randneg --init $(INIT) $$(train_options_$(1)) --rand-num $(RAND_NUM) $(TRAIN) -o $$(@D)

$(OUT)/$(1)/negatives/train.parquet: $(OUT)/$(1)/models/$(STAR_FROM)/config.json $(OUT)/$(1)/embeddings/$(STAR_FROM).arrow \
  $(OUT)/$(1)/tokens/train.arrow $(OUT)/$(1)/qrels/train.parquet | build
	@mkdir -p $$(@D)
	$(EMBED) --model $(OUT)/$(1)/models/$(STAR_FROM) --max-length $(QUERY_LENGTH) $(OUT)/$(1)/tokens/train.arrow \
	| $(BIN)/rank --index $(OUT)/$(1)/embeddings/$(STAR_FROM).arrow --top-k $$$$(($(NEGATIVES) + $(MARGIN))) --device $(DEVICE) \
	| $(BIN)/mine-negatives --qrels $(OUT)/$(1)/qrels/train.parquet --top-k $(NEGATIVES) -o $$@

$(OUT)/$(1)/models/star/config.json: $(OUT)/$(1)/models/$(STAR_FROM)/config.json $(OUT)/$(1)/negatives/train.parquet $$(train_inputs_$(1)) | build
	$(BIN)/train star --init $(OUT)/$(1)/models/$(STAR_FROM) $$(train_options_$(1)) \
	  --negatives $(OUT)/$(1)/negatives/train.parquet --hard-num $(HARD_NUM) $(TRAIN) -o $$(@D)

$(OUT)/$(1)/table.parquet: $(OUT)/$(1)/tokens/dev.arrow $(OUT)/$(1)/tokens/test.arrow $(foreach row,$(TABLE_ROWS),$(OUT)/$(1)/metrics/$(row).dev.parquet $(OUT)/$(1)/metrics/$(row).test.parquet) | build
	$(BIN)/sql -q -t metrics=$(OUT)/$(1)/metrics "$$$$($(call query,$(1),table))" --format parquet -o $$@

$(OUT)/$(1)/table.tsv: $(OUT)/$(1)/table.parquet | build
	$(BIN)/sql -q -t t=$$< 'SELECT * FROM t' -o $$@

.PHONY: $(1) $(1)-leaderboard reproduce-$(1)
$(1): $(OUT)/$(1)/table.tsv
	$$(call show,$(1))

$(1)-leaderboard: $(foreach row,$(ROWS),$(OUT)/$(1)/runs/$(row).leaderboard.tsv)

reproduce-$(1): $(STAR)/config.json $(ADORE_STAR)/config.json $(foreach row,$(PUBLISHED_ROWS),$(1)-$(row)) | build
	@$(BIN)/sql -q -t metrics=$(OUT)/$(1)/metrics "$$$$($(call query,$(1),reproduction))"
endef

# $(call query,form,name): a query over one form's table or metrics.
query = sed 's/MRR@10/$($(1)_mrr)/g; s/FORM/$(1)/' lib/evaluation/sql/$(2).sql

# $(call show,form): its table, and the notes on the figures it is compared with.
define show
	@$(BIN)/sql -q -t t=$(OUT)/$(1)/table.parquet "$(if $(COMPARED),$$($(call query,$(1),comparison)),SELECT * FROM t)"
	@$(if $(COMPARED),sed -n 's/^-- $(1): //p' lib/evaluation/sql/comparison.sql)

endef

# A model folder that is not there, or was not given.
%/config.json:
	@echo "make: $*: no model folder with a config.json; hint: INIT=folder names the starting model" >&2; exit 1

.PHONY: /config.json
/config.json:
	@echo "make: give STAR=folder and ADORE_STAR=folder, the authors' checkpoints" >&2; exit 1

$(foreach form,passage doc,$(eval $(call form_rules,$(form))) \
  $(foreach row,start $(WARM_ROWS) $(if $(INIT_STAR),warm-up),$(eval $(call warm_rules,$(form),$(row)))) \
  $(foreach row,$(WARM_ROWS),$(eval $(call adore_rules,$(form),$(row)))) \
  $(eval $(call warm_rules,$(form),published-star)) \
  $(eval $(call row_rules,$(form),published-adore-star,published-star,$(ADORE_QUERY_LENGTH),--document-model $(STAR))))

## passage-ROW: one row of the passage table; rows: inbatch-neg rand-neg star adore-inbatch-neg adore-rand-neg adore-star
## doc-ROW: the same of the document table
## passage: all six rows from DATA, INIT into OUT, and their table
## doc: the same for documents
## passage-leaderboard: runs of the six rows for the leaderboard's queries, in the form that is handed in
## doc-leaderboard: the same for documents
## reproduce-passage: score the authors' checkpoints STAR and ADORE_STAR, beside the published figures
## reproduce-doc: the same for documents
## table: the tables that have been made so far
.PHONY: table
table: MADE = $(foreach form,passage doc,$(if $(wildcard $(OUT)/$(form)/table.parquet),$(form)))
table: build
	$(or $(foreach form,$(MADE),$(call show,$(form))),@echo "make: no table in $(OUT) yet; make passage or make doc makes one")

# ---- data -------------------------------------------------------------------------------------------------

## data-passage: fetch MS MARCO's passages and TREC DL 2019 into DATA, and check every file's rows (5 GB of disk)
## data-doc: the same of documents (31 GB of disk)
.PHONY: data-passage data-doc
data-passage data-doc: data-%:
	python3 lib/text/msmarco.py $* $(DATA) $(if $(MSMARCO),--from $(MSMARCO)) $(if $(TREC),--trec-from $(TREC)) \
	  $(if $(MSMARCO_ROWS),--rows $(MSMARCO_ROWS))

# What is not there when a row needs it.
$(DATA)/%:
	@echo "make: no $@; hint: make data-passage or data-doc fetches MS MARCO, DATA=folder names a collection" >&2; exit 1

# ---- quick start ------------------------------------------------------------------------------------------

QUICKSTART := out/quickstart
# Small enough for some minutes on two cores. Chosen on a part of train (lib/text/quickstart.py --tune makes it "dev"),
# never on dev itself.
QUICKSTART_SETTINGS := INIT=$(DEPS)/minilm TABLE_ROWS="start $(ROWS)" PUBLISHED=no TOP_K=100 \
  PASSAGE_LENGTH=64 QUERY_LENGTH=32 ADORE_QUERY_LENGTH=32 TRAIN_PASSAGE_LENGTH=40 TRAIN_QUERY_LENGTH=24 \
  OPTIMIZER=adamw LEARNING_RATE=1e-4 WARMUP_STEPS=5 BATCH_SIZE=24 STEPS=45 \
  ADORE_LEARNING_RATE=6e-5 ADORE_WARMUP_STEPS=5 ADORE_BATCH_SIZE=32 ADORE_STEPS=50 ADORE_TOP_K=200 METRIC_CUT=200

define NEXT

Worth trying next:

  # The ten hardest dev queries of the best row
  $(BIN)/sql -t m=$(QUICKSTART)/passage/metrics/adore-star.dev.parquet "SELECT query_id, value FROM m WHERE metric = 'MRR@10' AND query_id IS NOT NULL ORDER BY value, query_id LIMIT 10"

  # All rows side by side, with more metrics
  $(BIN)/score --qrels $(QUICKSTART)/data/qrels.dev.small.tsv -m MRR@10 -m nDCG@10 -m R@10 -m R@100 $(QUICKSTART)/passage/runs/*.dev.parquet

  # How ADORE's lists got better while it trained
  $(BIN)/sql -t log=$(QUICKSTART)/passage/models/adore-star/training-log.parquet "SELECT step / 20 * 20 AS step, avg(loss) AS loss, avg(mrr_10) AS mrr_10 FROM log GROUP BY 1 ORDER BY 1"

endef
export NEXT

## quickstart: the whole pipeline on a small real collection: data, model, all rows, the table (minutes)
.PHONY: quickstart
quickstart: build $(DEPS)/minilm/config.json $(QUICKSTART)/data/collection.tsv
	@$(MAKE) passage DATA=$(QUICKSTART)/data OUT=$(QUICKSTART) $(QUICKSTART_SETTINGS)
	@cp -p $(QUICKSTART)/passage/table.tsv $(QUICKSTART)/passage/table.parquet $(QUICKSTART)/
	@echo "$$NEXT"

$(DEPS)/minilm/config.json:
	python3 lib/fetch.py model

$(DEPS)/azure-cli/__main__.py:
	python3 lib/fetch.py azure-cli

$(QUICKSTART)/data/collection.tsv: $(DEPS)/azure-cli/__main__.py lib/text/quickstart.py
	python3 lib/text/quickstart.py $(DEPS)/azure-cli $(@D)

# ---- speed ------------------------------------------------------------------------------------------------

BENCH_STAGES := tokenize embed embed-bf16 train-star train-adore rank rank-limit mine-negatives score memory beside quickstart gpu
bench_inputs := build $(DEPS)/bench/installed $(DEPS)/minilm/config.json $(QUICKSTART)/data/collection.tsv

## bench: ours beside what users would pick instead, one table in out/bench (an hour; 4 GB of packages, 11 GB of data)
## bench-STAGE: one stage, never two at a time (-j): tokenize embed embed-bf16 train-star train-adore rank rank-limit mine-negatives score memory beside quickstart
## bench-gpu: what a GPU is for, on BENCH_DEVICE (cuda)
.PHONY: bench $(addprefix bench-,$(BENCH_STAGES))
bench: $(bench_inputs)
	BIN=$(BIN) $(DEPS)/bench/bin/python tests/bench/bench.py

bench-gpu: export BENCH_DEVICE ?= cuda
$(addprefix bench-,$(BENCH_STAGES)): bench-%: $(bench_inputs)
	BIN=$(BIN) $(DEPS)/bench/bin/python tests/bench/bench.py $*

$(DEPS)/bench/installed: tests/bench/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# ---- tests ------------------------------------------------------------------------------------------------

## test: formatting, lints, unit tests, and the real binaries on small real files
.PHONY: test
test: setup
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo clippy --release --no-default-features --features faiss-gpu -- -D warnings
	cargo test --release --workspace

## neighbours: pyarrow, DuckDB, faiss, ir_measures, transformers and sentence-transformers open our files (4 GB of packages)
.PHONY: neighbours
neighbours: build $(DEPS)/minilm/config.json $(DEPS)/neighbours/installed
	BIN=$(BIN) MODEL=$(DEPS)/minilm $(DEPS)/neighbours/bin/python tests/neighbours/test_neighbours.py

$(DEPS)/neighbours/installed: tests/neighbours/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
