mod api;
mod edits;
mod faults;
mod plans;
mod reports;
mod site;
mod works;
