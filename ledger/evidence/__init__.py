"""Evidence that history is as it was: the chain of seals (``sql/evidence.sql`` says how it works).

models   the chain                        sealing   what a sweep adds to it
verify   the chain against the tables     heads     its last link, to be kept elsewhere
ids      many of them, in little space
"""
