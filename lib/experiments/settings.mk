# What can be set on the command line of make (make passage BATCH_SIZE=64), with the paper's values as defaults.

BIN := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
QUICKSTART := out/quickstart
# make -n shows all commands, also where files are missing; with CHECK=yes it says which.
SHOWN := $(if $(CHECK),,$(findstring n,$(filter-out -%,$(firstword $(MAKEFLAGS)))))

# The rows of the paper's tables. An ADORE row trains the query encoder of the row that it is named after.
WARM_ROWS  := inbatch-neg rand-neg star
ADORE_ROWS := $(WARM_ROWS:%=adore-%)
ROWS       := $(WARM_ROWS) $(ADORE_ROWS)
# The same of a model that is trained on BM25's negatives, which is no row of the paper's table.
MORE_ROWS  := bm25-neg
# BM25, and a row's lists fused with its lists: ROW+bm25, for any row.
LEXICAL_ROWS := bm25 $(ROWS:%=%+bm25) bm25-neg+bm25 start+bm25
# The starting model, a warm-up model for STAR and the authors' checkpoints can be scored like rows.
GIVEN_ROWS := start warm-up published-star published-adore-star published-jpq

# Documents as codes of M bytes, for every M in PQ_M, which must divide the dimension. They go on from STAR.
PQ_M ?= 96 64 48 32 24 16
COMPRESSED_ROWS := $(PQ_M:%=opq-%) $(PQ_M:%=jpq-%) $(PQ_M:%=repconc-%)
# Their models. conc-M is the first stage of repconc-M.
CODE_MODELS := $(PQ_M:%=jpq-%) $(PQ_M:%=conc-%) $(PQ_M:%=repconc-%)

# Trainers whose training data can be written and read.
TRAINERS := sentence-transformers flagembedding tevatron

# Rows that are trained on mined negatives besides STAR: the rounds of ANCE, and those of a task that tries rules.
ROUNDS ?= 3
rounds     := $(shell seq $(ROUNDS))
ANCE_ROWS  := $(rounds:%=ance-%)
MINED_ROWS := $(ANCE_ROWS) $(SWEEP_ROWS)

# The collection, the starting model (its tokenizer makes the tokens), and where results go.
DATA ?= data
INIT ?= model
OUT ?= out
# The model that STAR starts from and that its negatives are mined with, for instance one trained on BM25 negatives
# (OUT/passage/models/bm25-neg). Without it, STAR starts from the Rand-Neg model.
INIT_STAR ?=
# The authors' checkpoints, for reproduce-passage and reproduce-doc.
STAR ?=
ADORE_STAR ?=
# JPQ's query encoder and index of the authors, and the bytes of a code in it, for reproduce-passage-jpq.
JPQ ?=
JPQ_INDEX ?=
M ?= 96
# PAPER=yes reproduces the paper: INIT is its RoBERTa, whose tokens are made as transformers 2 made them (COMPAT), and
# tables stand beside the published figures (PUBLISHED=yes). The reproduce- targets imply it.
PAPER ?= no
COMPAT ?= $(if $(filter-out no,$(PAPER)),transformers-2)
PUBLISHED ?= $(PAPER)
# What goes in front of every query and every document, instead of the prompts that INIT asks for. One line.
QUERY_PROMPT ?=
DOC_PROMPT ?=
# The rows of the table.
TABLE_ROWS ?= $(ROWS)
# In the report: the row that the others are tested against, and two rows to compare query by query. Without them, these
# are the first row of the table, and that one with the best.
BASELINE ?=
COMPARE ?=

# How vectors are compared: dot, as the paper does, or cosine. A starting model that came with the other one is changed.
SIMILARITY ?= dot
# The loss, softplus or infonce, and its temperature where it is not the loss's own. METRIC_CUT is for softplus only.
LOSS ?= softplus
TEMPERATURE ?=
# What the learning rate does after the warm-up (linear, cosine or constant), and the weight decay.
SCHEDULE ?= linear
WEIGHT_DECAY ?= 0.01

DEVICE ?= auto
PRECISION ?= f32
SEED ?= 42

# The scheduler of workers (df://HOST:PORT) that tokenize, encode and search the documents in shards of so many rows; the
# rest is done here. Without it, all is. Results have the same bytes.
CLUSTER ?=
SHARD_ROWS ?= 1000000

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
# Random negatives (Rand-Neg) and mined negatives (STAR) for each query of a batch.
RAND_NUM ?= 1
HARD_NUM ?= 1
# Texts that are encoded at once, where a whole batch does not fit the memory: the same step, a third slower.
CHUNK_SIZE ?=
# Mined negatives a query. The lists they are taken from are longer by MARGIN, which is room for relevant documents.
NEGATIVES ?= 200
MARGIN ?= 50
# Which of the documents that rank high become negatives, as options of mine-negatives: --relative-margin 0.05. What
# they leave out wants a larger MARGIN.
NEGATIVES_RULES ?=

# BM25 (k1 and b). ROW+bm25 fuses the row's lists with BM25's: by weighted scores, or by reciprocal ranks (rrf).
BM25_K1 ?= 0.9
BM25_B ?= 0.4
FUSION ?= weighted

# ADORE. Without a number of steps it trains for whole epochs. METRIC_CUT is for passages.
ADORE_OPTIMIZER ?= adamw
ADORE_LEARNING_RATE ?= 5e-6
ADORE_WARMUP_STEPS ?= 2000
ADORE_BATCH_SIZE ?= 32
ADORE_EPOCHS ?= 6
ADORE_STEPS ?=
ADORE_TOP_K ?= 200
METRIC_CUT ?= 200

# Threads that train the index of codes; all without a number. Another number gives another index, whose figures differ a
# little. A few thousand vectors want 1.
INDEX_THREADS ?=

# JPQ. Without a rate of centroids they have the paper's for M: 5e-6 up to 24, 2e-5 for 32, and 1e-4 from 48 on.
# LAMBDA_CUT is 10 for documents.
JPQ_LEARNING_RATE ?= 5e-6
JPQ_CENTROID_RATE ?=
JPQ_WARMUP_STEPS ?= 2000
JPQ_BATCH_SIZE ?= 32
JPQ_EPOCHS ?= 6
JPQ_STEPS ?=
JPQ_TOP_K ?= 200
LAMBDA_CUT ?= 200

# RepCONC, the first stage: encoder, centroids and codes. For documents, CONC_BATCH_SIZE is 256 and CONC_DOC_LENGTH 512.
CONC_LEARNING_RATE ?= 5e-6
CONC_CENTROID_RATE ?= 2e-4
CONC_BATCH_SIZE ?= 1024
CONC_EPOCHS ?= 10
CONC_STEPS ?=
CONC_DOC_LENGTH ?= 110
CONC_MSE_WEIGHT ?= 0.05
CONC_EPSILON ?= 0.05
CONC_ITERATIONS ?= 30
# The second stage: query encoder and centroids.
CONC_JPQ_LEARNING_RATE ?= 2e-6
CONC_JPQ_CENTROID_RATE ?= 2e-5
CONC_JPQ_BATCH_SIZE ?= 128
CONC_JPQ_EPOCHS ?= 6
CONC_JPQ_STEPS ?=

# With DEV_EVERY, every tenth training query is held out; after every so many steps the model is measured on these
# queries by DEV_METRIC. KEEP says whether the best of the models is kept or the last one. PATIENCE ends training after so
# many measurements without a gain.
# DEV_DOCS measures among the judged documents and so many others, instead of the whole collection.
# The paper trained on all queries and kept the last model.
DEV_EVERY ?=
DEV_METRIC ?= nDCG@10
DEV_DOCS ?=
KEEP ?= best
PATIENCE ?=

# Documents a query in a run.
TOP_K ?= 1000

# Mirrors of MS MARCO's files and of TREC's judgements (URL or folder) for data-passage and data-doc, and the rows of
# each file (TSV: name, rows) where a mirror holds another collection.
MSMARCO ?=
TREC ?=
MSMARCO_ROWS ?=
