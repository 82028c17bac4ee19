mod edits;
mod plans;
mod reports;
mod works;
