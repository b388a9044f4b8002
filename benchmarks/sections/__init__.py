"""What there is to measure: functions that take the settings and return their tables."""
