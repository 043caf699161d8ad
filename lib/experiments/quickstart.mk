# The quick start: the passage task on a small real collection, in minutes on two cores. The settings were chosen on a
# part of the training queries (lib/scripts/quickstart.py --tune makes that part "dev"), never on dev itself.

include lib/experiments/passage.mk

HERE = $(QUICKSTART)/passage
DATA = $(QUICKSTART)/data
INIT := .deps/minilm
# BM25, the model as published, and STAR fused with BM25 are rows of the table, too.
TABLE_ROWS = bm25 start $(ROWS) star+bm25

PASSAGE_LENGTH        := 64
QUERY_LENGTH          := 32
ADORE_QUERY_LENGTH    := 32
TRAIN_PASSAGE_LENGTH  := 40
TRAIN_QUERY_LENGTH    := 24
TOP_K                 := 100

OPTIMIZER             := adamw
LEARNING_RATE         := 1e-4
WARMUP_STEPS          := 5
BATCH_SIZE            := 24
STEPS                 := 45

# The models are measured while they are trained, on training queries that are held out for it. The table compares methods
# after the same number of steps, as the paper's does, so the last model is kept.
DEV_EVERY             := 25
DEV_METRIC            := MRR@10
DEV_DOCS              := 100
KEEP                  := last

ADORE_LEARNING_RATE   := 6e-5
ADORE_WARMUP_STEPS    := 5
ADORE_BATCH_SIZE      := 32
ADORE_STEPS           := 50
ADORE_TOP_K           := 200
METRIC_CUT            := 200

# Documents as codes. 96 bytes are a sixteenth of a vector here.
PQ_M                  := 96 48 24
INDEX_THREADS         := 1
JPQ_LEARNING_RATE     := 2e-5
JPQ_CENTROID_RATE     := 1e-4
JPQ_WARMUP_STEPS      := 5
JPQ_STEPS             := 50
CONC_LEARNING_RATE    := 2e-5
CONC_CENTROID_RATE    := 2e-4
CONC_BATCH_SIZE       := 128
CONC_DOC_LENGTH       := 40
CONC_STEPS            := 20
CONC_JPQ_LEARNING_RATE := 1e-5
CONC_JPQ_CENTROID_RATE := 1e-4
CONC_JPQ_BATCH_SIZE   := 32
CONC_JPQ_STEPS        := 50
