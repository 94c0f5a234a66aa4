//! The one integration binary; a module is a theme.
