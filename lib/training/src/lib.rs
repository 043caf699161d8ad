//! Samplers, losses, optimizers, the schedule, the loop, and resuming.
