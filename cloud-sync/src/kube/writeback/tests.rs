mod api;
mod edits;
mod events;
mod faults;
mod plans;
mod reports;
mod site;
mod works;
