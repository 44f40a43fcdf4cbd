//! memring tests
