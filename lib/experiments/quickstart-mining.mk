# Which negatives are worth learning from: the quick start's STAR with negatives that were mined by different rules. Each
# row goes on from the same Rand-Neg model, for the same number of steps.

include lib/experiments/quickstart.mk

HERE = $(QUICKSTART)/mining

# STAR draws one negative a step out of those of a query, so that with 200 of them the rules would hardly matter.
NEGATIVES := 20
MARGIN    := 230

SWEEP_ROWS := mined-top mined-margin-5 mined-margin-10 mined-random
RULES.mined-top       :=
RULES.mined-margin-5  := --relative-margin 0.05
RULES.mined-margin-10 := --relative-margin 0.1
RULES.mined-random    := --sample random --depth 200
