//! libtorch: encoder models, pooling, checkpoints, devices and precision.
