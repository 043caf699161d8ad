# Training data with texts for other trainers, from a task's training queries, judgements and mined negatives.

# Most negatives of a query that are handed on.
EXPORT_NEGATIVES ?= 15

export := $(HERE)/export
.PHONY: $(TRAINERS:%=$(TASK)-export-%)
$(TRAINERS:%=$(TASK)-export-%): $(TASK)-export-%: $(export)/%.jsonl

# The texts, where need be under the names that the queries know: what is in front of the last column is the title.
export_docs    := $(if $(DOC_ID)$(DOC_TEXT),$(export)/docs.parquet,$(docs))
export_queries := $(if $(QUERY_ID)$(QUERY_TEXT),$(export)/queries.parquet,$(train_queries))
text_columns = $(subst $(comma), ,$(or $(1),text))
title = $(if $(1),concat_ws(' ' $(foreach name,$(1),$(comma) nullif("$(name)", ''))),'')
named = SELECT "$(or $(1),id)" AS id, $(call title,$(filter-out $(lastword $(2)),$(2))) AS title, "$(lastword $(2))" AS text FROM t

$(export)/docs.parquet: $(docs)
	mkdir -p $(@D)
	$(BIN)/sql -q -t t=$< $(call quoted,$(call named,$(DOC_ID),$(call text_columns,$(DOC_TEXT)))) -o $@
$(export)/queries.parquet: $(train_queries)
	mkdir -p $(@D)
	$(BIN)/sql -q -t t=$< $(call quoted,$(call named,$(QUERY_ID),$(call text_columns,$(QUERY_TEXT)))) -o $@

$(TRAINERS:%=$(export)/%.jsonl): $(export)/%.jsonl: $(negatives)/train.parquet $(export_docs) $(export_queries) $(train_qrels)
	mkdir -p $(@D)
	$(BIN)/remap-ids --to official $(IDS) $< \
	  | $(BIN)/sql -q -t n=- 'SELECT * FROM n WHERE rank <= $(EXPORT_NEGATIVES)' --format parquet \
	  | $(BIN)/sql -t negatives=- -t docs=$(export_docs) -t queries=$(export_queries) -t qrels=$(train_qrels) \
	    -f lib/evaluation/sql/export/$*.sql -o $@
