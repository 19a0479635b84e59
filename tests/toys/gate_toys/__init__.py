"""Extensions that a third party might install: for tests of how they are found and fail."""
