# Any collection: the files are named on the command line, in any form that the programs read (TSV, JSONL, Parquet).

HERE = $(OUT)/collection

# passage, or document for TSV with url, title and body.
KIND ?= passage
DOCS ?=
# Queries: a file for all splits, of which those with judgements are taken, or one for each split.
QUERIES ?=
TRAIN_QUERIES ?= $(QUERIES)
DEV_QUERIES ?= $(QUERIES)
TEST_QUERIES ?= $(QUERIES)
# Judgements. A split without them is left out.
TRAIN_QRELS ?=
DEV_QRELS ?=
TEST_QRELS ?=
# Columns of the ids and of the texts, where they are not called id (or _id) and text, and of the judgements (query,
# document and grade) in JSONL, or in Parquet with other names than usual. Several columns of a text have commas between.
DOC_ID ?=
DOC_TEXT ?=
QUERY_ID ?=
QUERY_TEXT ?=
QRELS_COLUMNS ?=
# The share of the judged queries (0.8) that becomes the train split, of a collection that has none. They leave the test
# split (or dev, where there is no test split). SEED decides which.
TRAIN_SHARE ?=
# EXCLUDE_SELF=yes leaves the document with the query's own id out of its list, where queries are documents (ArguAna,
# Quora). SKIP_UNKNOWN=yes leaves out training judgements whose query or document is not there.
EXCLUDE_SELF ?=
SKIP_UNKNOWN ?=

# The files are named by settings, which are kept with what is made of them.
NAMED := DOCS QUERIES TRAIN_QUERIES DEV_QUERIES TEST_QUERIES TRAIN_QRELS DEV_QRELS TEST_QRELS

# What to do about a file that is not there.
HINT := DOCS, QUERIES, TRAIN_QRELS, DEV_QRELS and TEST_QRELS name the files of the collection

# As BEIR measures: nDCG@10 and R@100, computed as by trec_eval.
METRICS.dev  := nDCG@10 R@100
METRICS.test := $(METRICS.dev)
ORDER.dev    := score
COLUMN        = $(split) $(metric)

# The starting model is a row of the table, and the only one where nothing can be trained. ADORE searches while it trains,
# and would take a query's own document for its hardest negative.
TABLE_ROWS = start $(if $(train_qrels),$(if $(EXCLUDE_SELF),$(WARM_ROWS),$(ROWS)))
# The paper's figures are about another collection.
PUBLISHED := no

LENGTH       := PASSAGE_LENGTH
TRAIN_LENGTH := TRAIN_PASSAGE_LENGTH
