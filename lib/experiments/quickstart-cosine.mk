# The quick start's second form: the same collection, starting model and number of steps, but vectors are compared by
# cosine, as the starting model came, and the loss is InfoNCE with a temperature.

include lib/experiments/quickstart.mk

HERE = $(QUICKSTART)/cosine

SIMILARITY  := cosine
LOSS        := infonce
TEMPERATURE := 0.05
