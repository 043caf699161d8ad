# The rows of one task, from the collection to the table. The Makefile calls these rules in the top folder, like so:
#
#     make -f lib/experiments/rules.mk TASK=passage passage-star
#
# TASK names the file beside this one that says where the task's files are: passage, doc, beir, collection, quickstart, or
# one of yours.
# In the rules, % is a row (star, adore-star). Names in capitals are settings, or commands and options made of them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

include lib/experiments/$(TASK).mk
include lib/experiments/settings.mk

# A collection in an object store is fetched, file by file.
ifneq ($(filter s3://% gs://%,$(DATA)),)
STORE := $(patsubst %/,%,$(DATA))
override DATA := $(HERE)/collection
endif

# One spelling for each path, so that model/ is not taken for another model than model.
override DATA       := $(patsubst $(CURDIR)/%,%,$(abspath $(DATA)))
override INIT       := $(patsubst $(CURDIR)/%,%,$(abspath $(INIT)))
override INIT_STAR  := $(patsubst $(CURDIR)/%,%,$(abspath $(INIT_STAR)))
override STAR       := $(patsubst $(CURDIR)/%,%,$(abspath $(STAR)))
override JPQ        := $(patsubst $(CURDIR)/%,%,$(abspath $(JPQ)))
override ADORE_STAR := $(patsubst $(CURDIR)/%,%,$(abspath $(ADORE_STAR)))

tokens     := $(HERE)/tokens
qrels      := $(HERE)/qrels
models     := $(HERE)/models
embeddings := $(HERE)/embeddings
negatives  := $(HERE)/negatives
judged     := $(HERE)/judged
runs       := $(HERE)/runs
metrics    := $(HERE)/metrics
lexical    := $(HERE)/lexical
fusion     := $(HERE)/fusion
indexes    := $(HERE)/indexes

# What to do about a file that is not there.
HINT ?= make data-passage or data-doc fetches MS MARCO, DATA=folder names a collection

# ---- the collection ---------------------------------------------------------------------------------------

# A file of the collection, packed or not.
docs                := $(firstword $(wildcard $(DOCS) $(DOCS).gz $(DOCS).zst) $(DOCS))
train_queries       := $(firstword $(wildcard $(TRAIN_QUERIES) $(TRAIN_QUERIES).gz $(TRAIN_QUERIES).zst) $(TRAIN_QUERIES))
train_qrels         := $(firstword $(wildcard $(TRAIN_QRELS) $(TRAIN_QRELS).gz $(TRAIN_QRELS).zst) $(TRAIN_QRELS))
dev_queries         := $(firstword $(wildcard $(DEV_QUERIES) $(DEV_QUERIES).gz $(DEV_QUERIES).zst) $(DEV_QUERIES))
dev_qrels           := $(firstword $(wildcard $(DEV_QRELS) $(DEV_QRELS).gz $(DEV_QRELS).zst) $(DEV_QRELS))
test_queries        := $(firstword $(wildcard $(TEST_QUERIES) $(TEST_QUERIES).gz $(TEST_QUERIES).zst) $(TEST_QUERIES))
test_qrels          := $(firstword $(wildcard $(TEST_QRELS) $(TEST_QRELS).gz $(TEST_QRELS).zst) $(TEST_QRELS))
leaderboard_queries := $(firstword $(wildcard $(LEADERBOARD_QUERIES) $(LEADERBOARD_QUERIES).gz $(LEADERBOARD_QUERIES).zst) $(LEADERBOARD_QUERIES))

files := $(sort $(docs) $(train_queries) $(train_qrels) $(dev_queries) $(dev_qrels) $(test_queries) $(test_qrels) \
	$(leaderboard_queries))

include lib/experiments/judgements.mk

# The splits that models are scored on. A split without judgements is left out.
splits := $(strip $(foreach split,dev test,$(if $($(split)_qrels),$(split))))
ifeq ($(filter $(TASK)-table $(TASK)-report,$(MAKECMDGOALS)),)
$(if $(train_qrels),,$(info # There are no training judgements: models can be scored as they come, and none can be trained. \
  TRAIN_SHARE=0.8 makes a train split.))
$(foreach split,$(filter-out $(splits),dev test),$(info # There are no $(split) judgements: the table has no column of them.))
$(if $(splits)$(SHOWN),,$(error there are no judgements to score with; hint: $(HINT)))
endif

# ---- what can be made -------------------------------------------------------------------------------------

all_rows := $(ROWS) $(MORE_ROWS) $(GIVEN_ROWS) $(MINED_ROWS)
.PHONY: $(TASK) $(TASK)-table $(TASK)-leaderboard reproduce-$(TASK) $(all_rows:%=$(TASK)-%)

# The rows of the table, the table, and how the models got better.
$(TASK): $(HERE)/table.tsv
	@$(SHOW)
	@$(CURVES)

# The table as it is.
$(TASK)-table:
	@$(SHOW)

# One row. The queries first: what is wrong with them is found before days of training.
queries := $(splits:%=$(tokens)/%.arrow)
$(all_rows:%=$(TASK)-%): $(TASK)-%: $(queries) $(foreach split,$(splits),$(metrics)/%.$(split).parquet)

# Runs of the rows, in the form that is handed in.
$(TASK)-leaderboard: $(tokens)/leaderboard.arrow $(ROWS:%=$(runs)/%.leaderboard.tsv)

# The authors' checkpoints, beside the figures that the reference prints for them.
reproduce-$(TASK): $(STAR)/config.json $(ADORE_STAR)/config.json $(TASK)-published-star $(TASK)-published-adore-star
	@$(BIN)/sql -q -t metrics=$(metrics) "$$($(QUERY) lib/evaluation/sql/reproduction.sql)"

# The report of what is there, with the judgements and texts of the first split if the collection is there.
.PHONY: $(TASK)-report
there = $(if $(wildcard $(2)),$(1) $(2))
split_of_report = $(firstword $(splits))
$(TASK)-report:
	$(BIN)/report $(HERE) $(if $(BASELINE),--baseline $(BASELINE)) $(if $(COMPARE),--compare $(COMPARE)) \
	  $(call there,--qrels,$($(split_of_report)_qrels)) $(if $(DOC_ID)$(DOC_TEXT),,$(call there,--texts,$(docs))) \
	  $(if $(QUERY_ID)$(QUERY_TEXT),,$(call there,--queries,$($(split_of_report)_queries))) -o $(HERE)/report.html

# What makes a file adds to this one what it took, and the report reads it.
export HARDMINE_JOURNAL = $(if $(filter $(HERE)/%,$@),$(HERE)/stages.jsonl)
export HARDMINE_STAGE = $(@:$(HERE)/%=%)

# ---- settings ---------------------------------------------------------------------------------------------

TOKENIZE = $(BIN)/tokenize --tokenizer $(INIT) $(if $(COMPAT),--compat $(lastword $(COMPAT)))
# A prompt of yours is meant, also where a model asks for another one.
prompt = $(if $($(1)),--prompt $(call quoted,$($(1))))
OTHER_PROMPT = $(if $(QUERY_PROMPT)$(DOC_PROMPT),--other-prompt)
EMBED = $(BIN)/embed $(OTHER_PROMPT) --device $(DEVICE) --precision $(PRECISION)
RANK = $(BIN)/rank $(OTHER_PROMPT) --device $(DEVICE) $(ON_CLUSTER)
# On a cluster, the documents are folders of shards, which have the names of the files that they stand for.
ON_CLUSTER = $(if $(CLUSTER),--cluster $(CLUSTER))
SHARDS = $(if $(CLUSTER),$(ON_CLUSTER) --shard-rows $(SHARD_ROWS))
AS_SHARDS = $(if $(CLUSTER),/)
SCORE = $(BIN)/score $(if $(EXCLUDE_SELF),--exclude-self)
# The columns that a collection of yours has its ids and texts in.
DOC_COLUMNS   = $(if $(DOC_ID),--id-column $(DOC_ID)) $(if $(DOC_TEXT),--text-column $(DOC_TEXT))
QUERY_COLUMNS = $(if $(QUERY_ID),--id-column $(QUERY_ID)) $(if $(QUERY_TEXT),--text-column $(QUERY_TEXT))
# What internal ids are the row numbers of, for the training queries.
IDS = --queries $(tokens)/train.arrow --docs $(tokens)/docs.arrow
OBJECTIVE = --similarity $(SIMILARITY) --loss $(LOSS) $(if $(TEMPERATURE),--temperature $(TEMPERATURE)) \
	--schedule $(SCHEDULE) --weight-decay $(WEIGHT_DECAY)
TRAIN = $(OBJECTIVE) --optimizer $(OPTIMIZER) --learning-rate $(LEARNING_RATE) --warmup-steps $(WARMUP_STEPS) \
	--batch-size $(BATCH_SIZE) --steps $(STEPS) --max-query-length $(TRAIN_QUERY_LENGTH) $(OTHER_PROMPT) \
	$(if $(CHUNK_SIZE),--chunk-size $(CHUNK_SIZE)) --precision $(PRECISION) --device $(DEVICE) --seed $(SEED) $(DEV)
TRAIN_ADORE = $(OBJECTIVE) --optimizer $(ADORE_OPTIMIZER) --learning-rate $(ADORE_LEARNING_RATE) \
	--warmup-steps $(ADORE_WARMUP_STEPS) --batch-size $(ADORE_BATCH_SIZE) --epochs $(ADORE_EPOCHS) \
	$(if $(ADORE_STEPS),--steps $(ADORE_STEPS)) --top-k $(ADORE_TOP_K) --max-query-length $(ADORE_QUERY_LENGTH) \
	$(if $(METRIC_CUT),$(if $(filter softplus,$(LOSS)),--metric-cut $(METRIC_CUT))) \
	$(OTHER_PROMPT) --device $(DEVICE) --seed $(SEED) $(DEV)
# Held-out queries are rows of the training queries' tokens.
DEV = $(if $(DEV_EVERY),--dev-queries $(tokens)/train.arrow --dev-qrels $(qrels)/held-out.parquet --ids internal \
	--dev-metric $(DEV_METRIC) --evaluate-every $(DEV_EVERY) --keep $(KEEP) \
	$(if $(DEV_DOCS),--dev-docs $(DEV_DOCS)) $(if $(PATIENCE),--patience $(PATIENCE)))

# The settings that decide what is in a folder. CLUSTER and SHARD_ROWS change no byte; DEVICE, CHUNK_SIZE and the number of
# cores change the rounding and which numbers dropout sets to zero, but not the method.
objective := SIMILARITY LOSS TEMPERATURE SCHEDULE WEIGHT_DECAY
dev       := $(if $(DEV_EVERY),DEV_EVERY DEV_METRIC DEV_DOCS KEEP PATIENCE)
training  := $(objective) OPTIMIZER LEARNING_RATE WARMUP_STEPS BATCH_SIZE STEPS TRAIN_QUERY_LENGTH $(TRAIN_LENGTH) PRECISION \
	SEED $(dev)
adore     := $(objective) ADORE_OPTIMIZER ADORE_LEARNING_RATE ADORE_WARMUP_STEPS ADORE_BATCH_SIZE ADORE_EPOCHS ADORE_STEPS \
	ADORE_TOP_K ADORE_QUERY_LENGTH SEED METRIC_CUT $(dev)
# Prompts, and what only some collections need, are recorded where they are given.
given = $(foreach name,$(1),$(if $($(name)),$(name)))
settings.tokens               := $(or $(STORE:%=STORE),DATA) INIT COMPAT $(call given,$(NAMED) QUERY_PROMPT DOC_PROMPT DOC_ID DOC_TEXT QUERY_ID QUERY_TEXT)
settings.judged               := $(or $(STORE:%=STORE),DATA) $(call given,$(NAMED) QRELS_COLUMNS TRAIN_SHARE) $(if $(TRAIN_SHARE),SEED)
settings.inbatch-neg          := $(training)
settings.rand-neg             := $(training) RAND_NUM
settings.negatives            := INIT_STAR QUERY_LENGTH NEGATIVES MARGIN PRECISION $(call given,EXCLUDE_SELF NEGATIVES_RULES)
settings.star                 := $(training) INIT_STAR HARD_NUM
settings.adore-inbatch-neg    := $(adore)
settings.adore-rand-neg       := $(adore)
settings.adore-star           := $(adore)
settings.start                := INIT
settings.warm-up              := INIT_STAR
settings.published-star       := STAR
settings.published-adore-star := ADORE_STAR ADORE_QUERY_LENGTH
settings.published-jpq        := JPQ JPQ_INDEX
settings.indexes              := $(LENGTH) PRECISION $(call given,INDEX_THREADS)
settings.jpq                  := JPQ_LEARNING_RATE JPQ_CENTROID_RATE JPQ_WARMUP_STEPS JPQ_BATCH_SIZE JPQ_EPOCHS JPQ_STEPS \
	JPQ_TOP_K LAMBDA_CUT QUERY_LENGTH SEED $(dev)
settings.conc                 := CONC_LEARNING_RATE CONC_CENTROID_RATE CONC_BATCH_SIZE CONC_EPOCHS CONC_STEPS CONC_MSE_WEIGHT \
	CONC_EPSILON CONC_ITERATIONS CONC_DOC_LENGTH TRAIN_QUERY_LENGTH PRECISION SEED $(dev)
settings.repconc              := CONC_JPQ_LEARNING_RATE CONC_JPQ_CENTROID_RATE CONC_JPQ_BATCH_SIZE CONC_JPQ_EPOCHS CONC_JPQ_STEPS JPQ_TOP_K \
	QUERY_LENGTH SEED $(dev)
settings.embeddings           := $(LENGTH) PRECISION
settings.runs                 := QUERY_LENGTH TOP_K PRECISION $(call given,EXCLUDE_SELF)
settings.lexical              := BM25_K1 BM25_B $(or $(STORE:%=STORE),DATA) $(call given,$(NAMED) DOC_ID DOC_TEXT)
settings.bm25-neg             := $(training) HARD_NUM NEGATIVES MARGIN BM25_K1 BM25_B
settings.fusion               := FUSION QUERY_LENGTH TOP_K PRECISION $(call given,EXCLUDE_SELF)

# FOLDER.settings, beside a folder, keeps the values of its settings. Where make is called with other ones, it makes
# nothing: a model that took days must not be lost because of a mistyped number, nor pass for what it is not.
# Correct a line in FOLDER.settings where only a path has changed. (COMPAT may be given as an option.)
folder = $(@D)
# Rows on mined negatives have the settings of STAR, and those of codes have the same for all numbers of bytes.
settings_of = $(settings.$(if $(filter $(MINED_ROWS),$(1)),star,$(if $(filter $(CODE_MODELS),$(1)),$(firstword $(subst -, ,$(1))),$(1))))
now    = $(foreach name,$(call settings_of,$(notdir $(folder))),$(name)=$(call word_of,$(name)))
was    = $(file <$(folder).settings)
RECORD = printf '%s\n' $(foreach line,$(now),$(call quoted,$(line))) > $(folder).settings
# A value in one word. The spaces of a prompt and of rules are written as ␣.
word_of = $(if $(filter %_PROMPT %_RULES,$(1)),$(subst $(space),␣,$($(1))),$(lastword $($(1))))
space  := $(subst ,, )
comma  := ,
# A word of the shell.
quoted = '$(subst ','\'',$(1))'

kept := $(tokens) $(judged) $(negatives) $(embeddings) $(runs) $(lexical) $(fusion) $(indexes) $(models)/start \
	$(foreach row,$(ROWS) $(MORE_ROWS) $(MINED_ROWS) $(CODE_MODELS),$(models)/$(row)) $(if $(JPQ),$(models)/published-jpq) \
	$(if $(INIT_STAR),$(models)/warm-up) $(if $(STAR),$(models)/published-star) $(if $(ADORE_STAR),$(models)/published-adore-star)
# There is something in the folder; or there is a checkpoint, where training was interrupted.
made := $(foreach folder,$(kept),$(if $(wildcard $(folder)/* $(folder).checkpoint),$(folder)))
ifeq ($(filter $(TASK)-table $(TASK)-report,$(MAKECMDGOALS)),)
$(foreach folder,$(made),$(if $(was),$(if $(filter-out $(was),$(now))$(filter-out $(now),$(was)),\
  $(error $(folder) was made with $(or $(filter-out $(now),$(was)),other settings), now $(or $(filter-out $(was),$(now)),none of them); \
    hint: give that setting or another OUT$(if $(filter-out $(GIVEN_ROWS),$(notdir $(folder))),; \
    or remove $(folder) to have it and all that follows from it made again)))))
endif

# A folder is begun with its settings, and begun anew while there is nothing in it.
begun := $(tokens) $(judged) $(negatives) $(embeddings) $(runs) $(lexical) $(fusion) $(indexes)
.PHONY: $(filter-out $(made),$(begun))
$(begun): folder = $@
$(begun): | $(HERE)
	$(RECORD)
	mkdir -p $@

$(HERE) $(qrels) $(models) $(metrics):
	mkdir -p $@

# ---- tokens and judgements ----------------------------------------------------------------------------------

$(tokens)/docs.arrow: $(docs) | $(tokens)
	$(TOKENIZE) --kind $(KIND) $(DOC_COLUMNS) $(call prompt,DOC_PROMPT) $(SHARDS) $< -o $@$(AS_SHARDS)

$(tokens)/train.arrow: $(train_queries) $(or $(train_qrels),/train)
$(tokens)/dev.arrow: $(dev_queries) $(dev_qrels)
$(tokens)/test.arrow: $(test_queries) $(test_qrels)
$(tokens)/train.arrow $(tokens)/dev.arrow $(tokens)/test.arrow: | $(tokens)
	$(TOKENIZE) --kind query $(QUERY_COLUMNS) $(call prompt,QUERY_PROMPT) --judged $(word 2,$^) $< -o $@

$(tokens)/leaderboard.arrow: $(leaderboard_queries) | $(tokens)
	$(TOKENIZE) --kind query $(QUERY_COLUMNS) $(call prompt,QUERY_PROMPT) $< -o $@

$(qrels)/train.parquet: $(train_qrels) $(tokens)/train.arrow $(tokens)/docs.arrow | $(qrels)
	$(BIN)/remap-ids --to internal $(if $(SKIP_UNKNOWN),--skip-unknown) $(IDS) $< -o $@

# Every tenth query, which row numbers tell, is held out of training where models are measured while they are trained.
$(qrels)/trained.parquet: $(qrels)/train.parquet
	$(BIN)/sql -q -t qrels=$< 'SELECT * FROM qrels WHERE query_id % 10 <> 9' --format parquet -o $@
$(qrels)/held-out.parquet: $(qrels)/train.parquet
	$(BIN)/sql -q -t qrels=$< 'SELECT * FROM qrels WHERE query_id % 10 = 9' --format parquet -o $@

# ---- models -----------------------------------------------------------------------------------------------

# What the first three methods are trained on, as prerequisites and as options.
trained := $(qrels)/$(if $(DEV_EVERY),trained,train).parquet
relevant := $(trained) $(if $(DEV_EVERY),$(qrels)/held-out.parquet)
pairs := $(tokens)/docs.arrow $(tokens)/train.arrow $(relevant)
PAIRS := --docs $(tokens)/docs.arrow --queries $(tokens)/train.arrow --qrels $(trained) \
	--max-doc-length $($(TRAIN_LENGTH))

$(models)/inbatch-neg/config.json: $(INIT)/config.json $(pairs) | $(models)
	$(RECORD)
	$(BIN)/train inbatch --init $(INIT) $(PAIRS) $(TRAIN) -o $(@D)

$(models)/rand-neg/config.json: $(INIT)/config.json $(pairs) | $(models)
	$(RECORD)
	$(BIN)/train randneg --init $(INIT) $(PAIRS) --rand-num $(RAND_NUM) $(TRAIN) -o $(@D)

include lib/experiments/mining.mk

# ADORE trains the query encoder of another row against that row's documents.
$(ADORE_ROWS:%=$(models)/%/config.json): $(models)/adore-%/config.json: $(models)/%/config.json $(embeddings)/%.arrow \
  $(relevant) | $(models)
	$(RECORD)
	$(BIN)/train adore --init $(<D) --queries $(tokens)/train.arrow --qrels $(trained) \
	  --embeddings $(embeddings)/$*.arrow $(TRAIN_ADORE) -o $(@D)

# Models that are taken as they are. Make must not delete them: it would reach through the link.
as_given := $(GIVEN_ROWS:%=$(models)/%/config.json)
.PRECIOUS: $(as_given)
$(models)/start/config.json: $(INIT)/config.json
$(models)/warm-up/config.json: $(INIT_STAR)/config.json
$(models)/published-star/config.json: $(STAR)/config.json
$(models)/published-adore-star/config.json: $(ADORE_STAR)/config.json
$(as_given): | $(models)
	$(RECORD)
	ln -sfn $(abspath $(<D)) $(@D)

# ---- embeddings, runs and metrics ---------------------------------------------------------------------------

$(all_rows:%=$(embeddings)/%.arrow): $(embeddings)/%.arrow: $(models)/%/config.json $(tokens)/docs.arrow | $(embeddings)
	$(EMBED) --model $(<D) --max-length $($(LENGTH)) $(ON_CLUSTER) $(tokens)/docs.arrow -o $@$(AS_SHARDS)

# The queries are encoded by the row's model (the first prerequisite) and searched among documents (the second).
SEARCH = $(EMBED) --model $(<D) --max-length $(query_length) $(document_model) $(word 3,$^) \
	| $(RANK) --index $(word 2,$^) --top-k $(top_k) \
	| $(BIN)/remap-ids --to official --queries $(word 3,$^) --docs $(tokens)/docs.arrow -o $@
query_length = $(QUERY_LENGTH)
top_k        = $(TOP_K)
$(runs)/%.leaderboard.tsv: private top_k        = $(LEADERBOARD_TOP_K)
$(runs)/adore-%:           private query_length = $(ADORE_QUERY_LENGTH)
$(runs)/published-adore-%: private query_length = $(ADORE_QUERY_LENGTH)
# The authors' checkpoint does not say which model its documents are encoded with.
$(runs)/published-adore-%: private document_model = --document-model $(STAR)

$(runs)/%.dev.parquet: $(models)/%/config.json $(embeddings)/%.arrow $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/%.test.parquet: $(models)/%/config.json $(embeddings)/%.arrow $(tokens)/test.arrow | $(runs)
	$(SEARCH)
$(runs)/%.leaderboard.tsv: $(models)/%/config.json $(embeddings)/%.arrow $(tokens)/leaderboard.arrow | $(runs)
	$(SEARCH)

# The documents of an ADORE row are those of the row that it is named after.
$(runs)/adore-%.dev.parquet: $(models)/adore-%/config.json $(embeddings)/%.arrow $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/adore-%.test.parquet: $(models)/adore-%/config.json $(embeddings)/%.arrow $(tokens)/test.arrow | $(runs)
	$(SEARCH)
$(runs)/adore-%.leaderboard.tsv: $(models)/adore-%/config.json $(embeddings)/%.arrow $(tokens)/leaderboard.arrow | $(runs)
	$(SEARCH)
$(runs)/published-adore-%.dev.parquet: $(models)/published-adore-%/config.json $(embeddings)/published-%.arrow $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/published-adore-%.test.parquet: $(models)/published-adore-%/config.json $(embeddings)/published-%.arrow $(tokens)/test.arrow | $(runs)
	$(SEARCH)
$(runs)/published-adore-%.leaderboard.tsv: $(models)/published-adore-%/config.json $(embeddings)/published-%.arrow $(tokens)/leaderboard.arrow | $(runs)
	$(SEARCH)

# The paper measures as msmarco_eval on dev, and as trec_eval on test.
METRICS.dev  ?= $(MRR) R@100
METRICS.test ?= nDCG@10
ORDER.dev    ?= rank

scored := $(all_rows) $(filter-out $(all_rows),$(LEXICAL_ROWS)) $(COMPRESSED_ROWS)
$(scored:%=$(metrics)/%.dev.parquet): $(metrics)/%.dev.parquet: $(runs)/%.dev.parquet $(dev_qrels) | $(metrics)
	$(SCORE) --qrels $(dev_qrels) --order $(ORDER.dev) $(METRICS.dev:%=-m %) --per-query $@ $<

$(scored:%=$(metrics)/%.test.parquet): $(metrics)/%.test.parquet: $(runs)/%.test.parquet $(test_qrels) | $(metrics)
	$(SCORE) --qrels $(test_qrels) --order score $(METRICS.test:%=-m %) --per-query $@ $<

include lib/experiments/lexical.mk
include lib/experiments/exchange.mk

# ---- the table --------------------------------------------------------------------------------------------

# A query of ours, for this task.
QUERY = sed 's/MRR@10/$(MRR)/g; s/FORM/$(TASK)/'

# A column for each metric of each split.
COLUMN ?= $(metric)
mean  = max(value) FILTER (WHERE run = name || '.$(split)' AND metric = '$(metric)')
means = $(foreach split,$(splits),$(foreach metric,$(METRICS.$(split)),$(comma) $(mean) AS "$(COLUMN)"))
in_place_of_means = s/, MEANS/$(means)/
TABLE = sed $(call quoted,$(in_place_of_means)) lib/evaluation/sql/table.sql

$(HERE)/table.parquet: $(queries) $(foreach row,$(TABLE_ROWS),$(foreach split,$(splits),$(metrics)/$(row).$(split).parquet))
	$(BIN)/sql -q -t metrics=$(metrics) "$$($(TABLE))" --format parquet -o $@

$(HERE)/table.tsv: $(HERE)/table.parquet
	$(BIN)/sql -q -t t=$< 'SELECT * FROM t' -o $@

include lib/experiments/compressed.mk

# Beside the published figures, if they are asked for, and with what is to be said of them.
ifeq ($(filter-out no,$(PUBLISHED)),)
SHOW = $(BIN)/sql -q -t t=$(HERE)/table.parquet 'SELECT * FROM t'
else
SHOW = $(BIN)/sql -q -t t=$(HERE)/table.parquet "$$($(QUERY) lib/evaluation/sql/comparison.sql)"; \
	sed -n 's/^-- $(TASK): //p' lib/evaluation/sql/comparison.sql
endif

# What was measured while the rows were trained: a line for each number of steps, and a column for each row.
curves   = $(filter $(ROWS),$(TABLE_ROWS))
curve_of = $(subst -,_,$(row))
CURVES = $(if $(DEV_EVERY),$(BIN)/sql -q $(foreach row,$(curves),-t $(curve_of)=$(models)/$(row)/training-log.parquet) \
	"SELECT steps AS \"steps: $(DEV_METRIC) on held-out queries\" \
	$(foreach row,$(curves),, round(max(dev) FILTER (WHERE row = '$(curve_of)'), 4) AS \"$(row)\") FROM ( \
	SELECT 0 AS steps, CAST(value AS DOUBLE) AS dev, table_name AS row FROM provenance WHERE name = 'dev_start' \
	$(foreach row,$(curves),UNION ALL SELECT step + 1, dev, '$(curve_of)' FROM $(curve_of) WHERE dev IS NOT NULL) \
	) GROUP BY steps ORDER BY steps")

# ---- what is not there --------------------------------------------------------------------------------------

$(files):
	$(if $(SHOWN),,$(if $(STORE),mkdir -p $(@D) && $(BIN)/worker -q --copy $(STORE)/$(@F) -o $@,$(error no $@; hint: $(HINT))))

.PHONY: /train
/train:
	$(if $(SHOWN),,$(error no training judgements, which every row but start needs; \
	  hint: TRAIN_SHARE=0.8 makes such a part of the judged queries the train split))

%/config.json:
	$(if $(SHOWN),,$(error $*: no model folder with a config.json; hint: INIT=folder names the starting model))

.PHONY: /config.json
/config.json:
	$(if $(SHOWN),,$(error no checkpoints; hint: give STAR=folder and ADORE_STAR=folder, or JPQ=folder, those of the authors))

.PHONY: /index
/index:
	$(if $(SHOWN),,$(error no index; hint: JPQ_INDEX=file names the one of the authors))
