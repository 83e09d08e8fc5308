//! The alternatives of one field: any of them is enough.

use crate::test::{Scalar, Test};

/// The alternatives of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leaf {
    pub tests: Vec<Test>,
    /// Whether `{exists: false}` is among them.
    pub absent: bool,
}

impl Leaf {
    pub fn takes(&self, scalar: Scalar<'_>) -> bool {
        self.tests.iter().any(|test| test.matches(scalar))
    }

    pub fn takes_absence(&self) -> bool {
        self.absent
    }
}
