//! The whole page: hostile text in every field, sizes, and what must stand where.
