# Training data with texts for other trainers, from a task's training queries, judgements and mined negatives.

# Most negatives of a query that are handed on.
EXPORT_NEGATIVES ?= 15

export := $(HERE)/export
trainers := sentence-transformers flagembedding tevatron
.PHONY: $(trainers:%=$(TASK)-export-%)
$(trainers:%=$(TASK)-export-%): $(TASK)-export-%: $(export)/%.jsonl

$(trainers:%=$(export)/%.jsonl): $(export)/%.jsonl: $(negatives)/train.parquet $(docs) $(train_queries) $(train_qrels)
	mkdir -p $(@D)
	$(BIN)/remap-ids --to official $(IDS) $< \
	  | $(BIN)/sql -q -t n=- 'SELECT * FROM n WHERE rank <= $(EXPORT_NEGATIVES)' --format parquet \
	  | $(BIN)/sql -t negatives=- -t docs=$(docs) -t queries=$(train_queries) -t qrels=$(train_qrels) \
	    -f lib/evaluation/sql/export/$*.sql -o $@
