//! Changes made to a running machine: one provisioner, one file. Not written yet.
