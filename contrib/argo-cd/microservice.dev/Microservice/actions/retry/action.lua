-- Tries again what was taken back.
local rollout = {}
if obj.status ~= nil and obj.status.rollout ~= nil then
  rollout = obj.status.rollout
end
local state = rollout.state
if rollout.candidate == nil or not (state == "Steady" or state == "Starting") then
  error("nothing was taken back that could be tried again", 0)
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["microservice.dev/retry"] = rollout.candidate .. "/" .. rollout.trial
return obj
