# The rows of documents that are kept as codes of M bytes: `opq-M`, codes as faiss makes them from STAR's embeddings;
# `jpq-M`, STAR's query encoder and the centroids trained together; and `repconc-M`, which also trains the codes.
# rules.mk includes this file. In the rules, % is M.

.PHONY: $(COMPRESSED_ROWS:%=$(TASK)-%) $(TASK)-compressed
$(COMPRESSED_ROWS:%=$(TASK)-%): $(TASK)-%: $(queries) $(foreach split,$(splits),$(metrics)/%.$(split).parquet)

TRAINED_QUERIES = --queries $(tokens)/train.arrow --qrels $(trained)
MACHINE = $(OTHER_PROMPT) --device $(DEVICE) --seed $(SEED) $(DEV)

# ---- OPQ ----------------------------------------------------------------------------------------------------

$(PQ_M:%=$(indexes)/opq-%.faiss): $(indexes)/opq-%.faiss: $(embeddings)/star.arrow | $(indexes)
	$(if $(INDEX_THREADS),OMP_NUM_THREADS=$(INDEX_THREADS)) $(BIN)/index $< --factory OPQ$*,IVF1,PQ$*x8np -o $@

# ---- JPQ ----------------------------------------------------------------------------------------------------

TRAIN_JPQ = --learning-rate $(JPQ_LEARNING_RATE) $(if $(JPQ_CENTROID_RATE),--centroid-rate $(JPQ_CENTROID_RATE)) \
	--warmup-steps $(JPQ_WARMUP_STEPS) --batch-size $(JPQ_BATCH_SIZE) --epochs $(JPQ_EPOCHS) \
	$(if $(JPQ_STEPS),--steps $(JPQ_STEPS)) --top-k $(JPQ_TOP_K) --lambda-cut $(LAMBDA_CUT) \
	--max-query-length $(QUERY_LENGTH) $(MACHINE)

$(PQ_M:%=$(models)/jpq-%/config.json): $(models)/jpq-%/config.json: $(models)/star/config.json $(indexes)/opq-%.faiss \
  $(relevant) | $(models)
	$(RECORD)
	$(BIN)/train jpq --init $(<D) --index $(word 2,$^) $(TRAINED_QUERIES) $(TRAIN_JPQ) -o $(@D)

# ---- RepCONC ------------------------------------------------------------------------------------------------

TRAIN_CONC = --learning-rate $(CONC_LEARNING_RATE) --centroid-rate $(CONC_CENTROID_RATE) --batch-size $(CONC_BATCH_SIZE) \
	--epochs $(CONC_EPOCHS) $(if $(CONC_STEPS),--steps $(CONC_STEPS)) --mse-weight $(CONC_MSE_WEIGHT) \
	--epsilon $(CONC_EPSILON) --iterations $(CONC_ITERATIONS) --max-query-length $(TRAIN_QUERY_LENGTH) \
	--max-doc-length $(CONC_DOC_LENGTH) $(if $(CHUNK_SIZE),--chunk-size $(CHUNK_SIZE)) --precision $(PRECISION) $(MACHINE)
TRAIN_CONC_JPQ = --loss list --learning-rate $(CONC_JPQ_LEARNING_RATE) --centroid-rate $(CONC_JPQ_CENTROID_RATE) \
	--batch-size $(CONC_JPQ_BATCH_SIZE) --epochs $(CONC_JPQ_EPOCHS) $(if $(CONC_JPQ_STEPS),--steps $(CONC_JPQ_STEPS)) \
	--top-k $(JPQ_TOP_K) --max-query-length $(QUERY_LENGTH) $(MACHINE)

# Its negatives are what the index that it starts from finds.
$(PQ_M:%=$(negatives)/opq-%.parquet): $(negatives)/opq-%.parquet: $(models)/star/config.json $(indexes)/opq-%.faiss \
  $(tokens)/train.arrow $(qrels)/train.parquet | $(negatives)
	$(EMBED) --model $(<D) --max-length $(QUERY_LENGTH) $(tokens)/train.arrow \
	  | $(RANK) --index $(word 2,$^) --top-k $$(($(NEGATIVES) + $(MARGIN))) \
	  | $(BIN)/mine-negatives --qrels $(qrels)/train.parquet --top-k $(NEGATIVES) -o $@

$(PQ_M:%=$(models)/conc-%/config.json): $(models)/conc-%/config.json: $(models)/star/config.json $(indexes)/opq-%.faiss \
  $(negatives)/opq-%.parquet $(tokens)/docs.arrow $(relevant) | $(models)
	$(RECORD)
	$(BIN)/train repconc --init $(<D) --index $(word 2,$^) --docs $(tokens)/docs.arrow $(TRAINED_QUERIES) \
	  --negatives $(word 3,$^) $(TRAIN_CONC) -o $(@D)

$(PQ_M:%=$(indexes)/conc-%.faiss): $(indexes)/conc-%.faiss: $(models)/conc-%/config.json $(tokens)/docs.arrow | $(indexes)
	$(EMBED) --model $(<D) --max-length $($(LENGTH)) --codes $(word 2,$^) | $(BIN)/index --centroids $(<D) -o $@

$(PQ_M:%=$(models)/repconc-%/config.json): $(models)/repconc-%/config.json: $(models)/conc-%/config.json \
  $(indexes)/conc-%.faiss $(relevant) | $(models)
	$(RECORD)
	$(BIN)/train jpq --init $(<D) --index $(word 2,$^) --optimizer-state $(<D)/optimizer.safetensors \
	  $(TRAINED_QUERIES) $(TRAIN_CONC_JPQ) -o $(@D)

# ---- runs ---------------------------------------------------------------------------------------------------

# Training writes the index with its centroids into the model's folder.
$(PQ_M:%=$(models)/jpq-%/index.faiss) $(PQ_M:%=$(models)/repconc-%/index.faiss): %/index.faiss: %/config.json ;

$(runs)/opq-%.dev.parquet: $(models)/star/config.json $(indexes)/opq-%.faiss $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/opq-%.test.parquet: $(models)/star/config.json $(indexes)/opq-%.faiss $(tokens)/test.arrow | $(runs)
	$(SEARCH)
$(runs)/jpq-%.dev.parquet: $(models)/jpq-%/config.json $(models)/jpq-%/index.faiss $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/jpq-%.test.parquet: $(models)/jpq-%/config.json $(models)/jpq-%/index.faiss $(tokens)/test.arrow | $(runs)
	$(SEARCH)
$(runs)/repconc-%.dev.parquet: $(models)/repconc-%/config.json $(models)/repconc-%/index.faiss $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/repconc-%.test.parquet: $(models)/repconc-%/config.json $(models)/repconc-%/index.faiss $(tokens)/test.arrow | $(runs)
	$(SEARCH)

# ---- the table ----------------------------------------------------------------------------------------------

# STAR with whole vectors, and what has been made of each number of bytes.
$(HERE)/compressed.parquet: $(queries) $(embeddings)/star.arrow \
  $(foreach row,star $(COMPRESSED_ROWS),$(foreach split,$(splits),$(metrics)/$(row).$(split).parquet))
	$(BIN)/sql -q -t metrics=$(metrics) -t star=$(embeddings)/star.arrow \
	  "$$(sed $(call quoted,$(in_place_of_means)) lib/evaluation/sql/compressed.sql)" --format parquet -o $@

$(HERE)/compressed.tsv: $(HERE)/compressed.parquet
	$(BIN)/sql -q -t t=$< 'SELECT * FROM t' -o $@

COMPRESSED_COMPARISON = $(QUERY) lib/evaluation/sql/compressed-comparison.sql
$(TASK)-compressed: $(HERE)/compressed.tsv
ifeq ($(filter-out no,$(PUBLISHED)),)
	@$(BIN)/sql -q -t t=$(HERE)/compressed.parquet 'SELECT * FROM t'
else
	@$(BIN)/sql -q -t t=$(HERE)/compressed.parquet "$$($(COMPRESSED_COMPARISON))"
	@sed -n 's/^-- $(TASK): //p' lib/evaluation/sql/compressed-comparison.sql
endif

# ---- the authors' files -------------------------------------------------------------------------------------

# Their query encoder JPQ (a folder) searches their index JPQ_INDEX, whose documents are numbered as in the collection.
.PHONY: reproduce-$(TASK)-jpq
published_jpq = SELECT 'JPQ $(M)' AS "row", $(M) AS "bytes a document" $(means) \
	FROM metrics CROSS JOIN (SELECT 'published-jpq' AS name) WHERE query_id IS NULL
reproduce-$(TASK)-jpq: $(queries) $(foreach split,$(splits),$(metrics)/published-jpq.$(split).parquet)
	@$(BIN)/sql -q -t metrics=$(metrics) $(call quoted,$(published_jpq)) --format parquet \
	  | $(BIN)/sql -q -t t=- "$$($(COMPRESSED_COMPARISON))"

$(models)/published-jpq/config.json: $(JPQ)/config.json
$(runs)/published-jpq.dev.parquet: $(models)/published-jpq/config.json $(or $(JPQ_INDEX),/index) $(tokens)/dev.arrow | $(runs)
	$(SEARCH)
$(runs)/published-jpq.test.parquet: $(models)/published-jpq/config.json $(or $(JPQ_INDEX),/index) $(tokens)/test.arrow | $(runs)
	$(SEARCH)
