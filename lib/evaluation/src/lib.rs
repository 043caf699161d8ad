//! DataFusion: metrics as .sql files, significance, and ad-hoc SQL.
