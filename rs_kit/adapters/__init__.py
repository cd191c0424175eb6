"""What the kit meets outside: applications, sockets, clocks and stores."""
