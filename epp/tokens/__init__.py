"""How many tokens a request has, and which, as far as one can tell without a tokenizer."""
