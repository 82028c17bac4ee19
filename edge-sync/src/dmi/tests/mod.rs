//! DMI at the node.
