"""The way to the campaign system: requests, runs on a schedule, files, and a program that picks the files up."""
