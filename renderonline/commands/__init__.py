"""What each command of the command line does; `renderonline.cli` picks one."""
