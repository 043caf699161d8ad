# Mined negatives, and the rows that are trained on them: STAR, the rounds of ANCE, and the rows of a sweep over rules.
# rules.mk includes this file.

# STAR, the first round and the rows of a sweep go on from this model, with negatives from its run of the training
# queries. Each later round goes on from the round before.
star_from := $(if $(INIT_STAR),warm-up,rand-neg)
later     := $(filter-out ance-1,$(ANCE_ROWS))
before    = ance-$(words $(wordlist 2,$(1:ance-%=%),$(rounds)))
from      = $(if $(filter $(later),$(1)),$(call before,$(1)),$(star_from))

# The negatives of STAR are in train.parquet, those of other rows in ROW.parquet.
negatives_of = $(negatives)/$(if $(filter star,$(1)),train,$(1)).parquet
mined := $(foreach row,star $(MINED_ROWS),$(call negatives_of,$(row)))

# The rules of a row, which are those for all rows unless the task gives it rules of its own.
row_of   = $(patsubst train,star,$(basename $(@F)))
rules_of = $(if $(filter undefined,$(origin RULES.$(row_of))),$(NEGATIVES_RULES),$(RULES.$(row_of)))
# A later round is compared with the round before.
earlier  = $(filter $(negatives)/ance-%,$(call negatives_of,$(call from,$(row_of))))

# The queries are encoded once, for the scores of the relevant documents (.positives.parquet), which margins are
# measured from, and for the lists. What mining did is in .report.parquet.
of_queries   = $(@:.parquet=.queries.arrow)
of_positives = $(@:.parquet=.positives.parquet)
LISTS  = $(RANK) --index $(word 2,$^) --top-k $$(($(NEGATIVES) + $(MARGIN))) $(of_queries)
SCORES = $(BIN)/rank $(OTHER_PROMPT) --device $(DEVICE) --index $(word 2,$^) --pairs $(qrels)/train.parquet $(of_queries)
MINE   = $(BIN)/mine-negatives --positives $(of_positives) --top-k $(NEGATIVES) $(rules_of) \
	  --report $(@:.parquet=.report.parquet) $(if $(DOC_ID)$(DOC_TEXT),,--texts $(docs))
# What is behind $$ is looked up for each target, when its name is known.
.SECONDEXPANSION:
$(mined): $(models)/$$(call from,$$(row_of))/config.json $(embeddings)/$$(call from,$$(row_of)).arrow $(tokens)/train.arrow \
  $(qrels)/train.parquet | $(negatives)
	$(EMBED) --model $(<D) --max-length $(QUERY_LENGTH) $(tokens)/train.arrow -o $(of_queries)
ifeq ($(EXCLUDE_SELF),)
	$(SCORES) -o $(of_positives)
	$(LISTS) | $(MINE) --qrels $(qrels)/train.parquet $(if $(earlier),--compare $(earlier)) -o $@
else	# A document is its own query by its official id.
	$(SCORES) | $(BIN)/remap-ids --to official $(IDS) -o $(of_positives)
	$(LISTS) | $(BIN)/remap-ids --to official $(IDS) | $(MINE) --exclude-self --qrels $(train_qrels) \
	  | $(BIN)/remap-ids --to internal $(IDS) -o $@
endif
	rm $(of_queries)

$(models)/star/config.json $(MINED_ROWS:%=$(models)/%/config.json): $(models)/%/config.json: \
  $(models)/$$(call from,$$*)/config.json $$(call negatives_of,$$*) $(pairs) | $(models)
	$(RECORD)
	$(BIN)/train star --init $(<D) $(PAIRS) --negatives $(word 2,$^) --hard-num $(HARD_NUM) $(TRAIN) -o $(@D)

# Rounds and sweeps have a table of their own: the metrics of each row, and what its negatives are like.
.PHONY: $(TASK)-ance $(TASK)-sweep
$(TASK)-ance:  rows := $(ANCE_ROWS)
$(TASK)-sweep: rows := $(SWEEP_ROWS)
$(TASK)-ance:  $(ANCE_ROWS:%=$(TASK)-%)
$(TASK)-sweep: $(SWEEP_ROWS:%=$(TASK)-%)
report_of     = $(subst -,_,$(row))
all_reports   = $(foreach row,$(rows),$(if $(filter-out $(firstword $(rows)),$(row)),UNION ALL) \
	SELECT '$(row)' AS name, section, name AS fact, query_id, value FROM $(report_of))
rounded_means = $(foreach split,$(splits),$(foreach metric,$(METRICS.$(split)),$(comma) round($(mean), 4) AS "$(COLUMN)"))
in_mined_sql  = s/REPORTS/$(all_reports)/; s/, MEANS/$(rounded_means)/
$(TASK)-ance $(TASK)-sweep:
	@$(BIN)/sql -q -t metrics=$(metrics) $(foreach row,$(rows),-t $(report_of)=$(negatives)/$(row).report.parquet) \
	  "$$(sed $(call quoted,$(in_mined_sql)) lib/evaluation/sql/mined.sql)"
