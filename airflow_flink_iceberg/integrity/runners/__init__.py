"""One module for each family of checks; each offers ``run(check, context) -> CheckResult``."""
