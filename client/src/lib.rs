//! memring client
