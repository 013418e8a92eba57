"""Networks: torch modules that know nothing about files, tables or training."""
