"""``make accuracy``: error rates on real signatures, cross-validated over writers, by one frozen recipe.

``recipe`` says what is trained and what is aimed at, ``folds`` which writers play which part, ``sets`` reads the data,
``runs`` trains and scores, ``results`` takes the runs together, ``page`` writes it down.
"""
