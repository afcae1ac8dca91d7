"""The domain vocabulary, pure: what a call is, what happens in it, and the folds over it."""
