-- Requests with tokens for wrk. Arguments: PATH MODE NUMBER [SEED].
--   one               the same token always
--   cycle NUMBER      that many tokens, in order, over and over
--   random NUMBER     that many tokens, drawn at random
--   new 0 SEED        each request a token that was never used before, if the seed was not
--   fill NUMBER       as cycle; writes the line "filled" when each has been answered
-- The last line written is a JSON object with what was counted.

local mode, path, number, seed, counter, answered

local function token(i)
   return string.format("t%063d", i)
end

local function text(token)
   return "GET " .. path .. " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " .. token .. "\r\n\r\n"
end

function init(args)
   path, mode, number, seed = args[1], args[2], tonumber(args[3] or "1"), args[4] or "0"
   counter, answered = 0, 0
   math.randomseed(tonumber(seed))
   if mode == "one" then
      local request_text = text(token(0))
      request = function() return request_text end
   elseif mode == "cycle" and number <= 20000 then
      local texts = {}
      for i = 1, number do texts[i] = text(token(i - 1)) end
      request = function()
         counter = counter % number + 1
         return texts[counter]
      end
   elseif mode == "cycle" or mode == "fill" then
      request = function()
         counter = counter + 1
         return text(token((counter - 1) % number))
      end
   elseif mode == "random" then
      request = function() return text(token(math.random(number) - 1)) end
   elseif mode == "new" then
      request = function()
         counter = counter + 1
         return text(string.format("n%031d%032d", seed, counter))
      end
   else
      error("no such mode: " .. tostring(mode))
   end
   if mode == "fill" then
      -- some are still under way when this many have been answered: their tokens come round again
      local enough = number + 256
      response = function()
         answered = answered + 1
         if answered == enough then
            -- wrk itself has no end but that of its time: who started it interrupts it
            io.write("filled\n")
            io.flush()
         end
      end
   end
end

-- has to be there before init, or wrk takes the request to be static
function request() return "" end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "most": %.1f, "errors": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
