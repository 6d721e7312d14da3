"""`python -m app --config FILE --node N`: one node."""

from app.main import main

main()
