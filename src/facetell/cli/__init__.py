"""The command line: a thin skin on ``facetell.api``, one file per verb."""
