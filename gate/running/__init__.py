"""From a plan to a record: stages in child processes, rounds, what they gave, judged."""
