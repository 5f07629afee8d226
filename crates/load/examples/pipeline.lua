-- wrk with ten requests in flight.
init = function(args)
  local requests = {}
  for i = 1, 10 do requests[i] = wrk.format() end
  all = table.concat(requests)
end
request = function() return all end
