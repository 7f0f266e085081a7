"""Aggregates in linear time: each row counts for an interval of probes, and numpy passes over all rows at once.

A row counts at the instants from when it is seen to when it leaves its window or is replaced. Probes are put in the
order of (entity, instant), so a row's instants become one interval of *positions*, and neither a hot entity nor
late rows need a case of their own.
"""
