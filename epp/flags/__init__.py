"""The picker's command line."""
