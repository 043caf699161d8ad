# The rows that begin with BM25: `bm25` itself, which needs no model; `bm25-neg`, a model trained on BM25's best documents
# as hard negatives, which is the warm-up of the paper; and ROW+bm25, the lists of a row and of BM25 made one.

BM25 = $(BIN)/rank --index $(lexical)/index $(QUERY_COLUMNS)

.PHONY: $(LEXICAL_ROWS:%=$(TASK)-%)
$(LEXICAL_ROWS:%=$(TASK)-%): $(TASK)-%: $(foreach split,$(splits),$(metrics)/%.$(split).parquet)

# ---- BM25 ---------------------------------------------------------------------------------------------------

# Of the index, a folder, make looks at the description.
$(lexical)/index/hardmine.json: $(docs) | $(lexical)
	$(BIN)/index --lexical --kind $(KIND) $(DOC_COLUMNS) --k1 $(BM25_K1) --b $(BM25_B) $< -o $(@D)

$(runs)/bm25.dev.parquet: $(lexical)/index/hardmine.json $(dev_queries) | $(runs)
	$(BM25) --top-k $(TOP_K) $(word 2,$^) -o $@
$(runs)/bm25.test.parquet: $(lexical)/index/hardmine.json $(test_queries) | $(runs)
	$(BM25) --top-k $(TOP_K) $(word 2,$^) -o $@

# ---- a model trained on BM25's negatives --------------------------------------------------------------------

# NEGATIVES_RULES are about scores of vectors, and have no say here.
$(lexical)/negatives.parquet: $(lexical)/index/hardmine.json $(tokens)/train.arrow $(tokens)/docs.arrow $(train_queries) \
  $(qrels)/train.parquet
	$(BM25) --top-k $$(($(NEGATIVES) + $(MARGIN))) $(if $(EXCLUDE_SELF),--exclude-self) $(IDS) $(train_queries) \
	  | $(BIN)/mine-negatives --qrels $(qrels)/train.parquet --top-k $(NEGATIVES) -o $@

$(models)/bm25-neg/config.json: $(INIT)/config.json $(lexical)/negatives.parquet $(pairs) | $(models)
	$(RECORD)
	$(BIN)/train star --init $(<D) $(PAIRS) --negatives $(lexical)/negatives.parquet --hard-num $(HARD_NUM) $(TRAIN) -o $(@D)

# ---- fusion -------------------------------------------------------------------------------------------------

# The query that fuses two runs is kept beside what was made with it.
$(fusion)/fuse.sql: lib/evaluation/sql/fusion/$(FUSION).sql | $(fusion)
	cp $< $@

FUSE = $(BIN)/sql -q -t dense=$(word 1,$^) -t lexical=$(word 2,$^)
fused := $(patsubst %+bm25,%,$(filter %+bm25,$(LEXICAL_ROWS)))
weight := $(if $(filter weighted,$(FUSION)),$(fusion)/%.weight.parquet)

$(fused:%=$(runs)/%+bm25.dev.parquet): $(runs)/%+bm25.dev.parquet: \
  $(runs)/%.dev.parquet $(runs)/bm25.dev.parquet $(fusion)/fuse.sql $(weight)
	$(FUSE) $(if $(weight),-t weight=$(word 4,$^)) -f $(word 3,$^) -o $@
$(fused:%=$(runs)/%+bm25.test.parquet): $(runs)/%+bm25.test.parquet: \
  $(runs)/%.test.parquet $(runs)/bm25.test.parquet $(fusion)/fuse.sql $(weight)
	$(FUSE) $(if $(weight),-t weight=$(word 4,$^)) -f $(word 3,$^) -o $@

# The weight is chosen on every tenth training query, a thousand of them at most. With DEV_EVERY, the models were not
# trained on these.
$(fusion)/qrels.parquet: $(qrels)/train.parquet $(tokens)/train.arrow $(tokens)/docs.arrow | $(fusion)
	$(BIN)/sql -q -t qrels=$< 'SELECT * FROM qrels WHERE query_id % 10 = 9 AND query_id < 10000' --format parquet \
	  | $(BIN)/remap-ids --ids internal --to official --queries $(word 2,$^) --docs $(word 3,$^) -o $@
$(fusion)/queries.arrow: $(train_queries) $(fusion)/qrels.parquet
	$(TOKENIZE) --kind query $(QUERY_COLUMNS) $(call prompt,QUERY_PROMPT) --judged $(word 2,$^) $< -o $@
$(fusion)/bm25.parquet: $(lexical)/index/hardmine.json $(train_queries) $(fusion)/queries.arrow $(tokens)/docs.arrow
	$(BM25) --top-k $(TOP_K) --queries $(word 3,$^) --docs $(word 4,$^) $(word 2,$^) \
	  | $(BIN)/remap-ids --to official --queries $(word 3,$^) --docs $(word 4,$^) -o $@
$(fusion)/%.parquet: $(models)/%/config.json $(embeddings)/%.arrow $(fusion)/queries.arrow
	$(SEARCH)
$(fusion)/adore-%.parquet: private query_length = $(ADORE_QUERY_LENGTH)
$(fusion)/adore-%.parquet: $(models)/adore-%/config.json $(embeddings)/%.arrow $(fusion)/queries.arrow
	$(SEARCH)
$(fused:%=$(fusion)/%.weight.parquet): $(fusion)/%.weight.parquet: $(fusion)/%.parquet $(fusion)/bm25.parquet $(fusion)/qrels.parquet
	$(FUSE) -t qrels=$(word 3,$^) -f lib/evaluation/sql/fusion/weight.sql -o $@
