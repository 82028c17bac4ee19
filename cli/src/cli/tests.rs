use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_teaches_by_example() {
    for command in Cli::command().get_subcommands() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.contains("causeway "),
            "{} has no example",
            command.get_name()
        );
        assert!(
            command.get_about().is_some(),
            "{} says nothing of itself",
            command.get_name()
        );
    }
}
