# Commands for gdb, connected to "odograph gdb".

define goto
  if $argc != 1
    printf "goto STEP, +N, -N, N%%, begin, end, or a time such as 12.5s\n"
  else
    monitor goto $arg0
    maintenance flush register-cache
    if $other_program == 2
      # There are no names to put in their place.
      symbol-file
    end
    if $other_program
      # gdb has the names of another program: this tells it, and does not move.
      stepi
    else
      frame
    end
  end
end
document goto
Go to a step of the history: goto STEP, goto +N, goto -N, goto N%, goto begin, goto end, or to a time: goto 12.5s
end

# Registers are not recorded, so there is no value to print.
set print finish off
set confirm off
