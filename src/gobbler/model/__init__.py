"""Values: names, records, requests and answers; no effects."""
