-- Takes the candidate back. It stays rejected until a retry.
local rollout = {}
if obj.status ~= nil and obj.status.rollout ~= nil then
  rollout = obj.status.rollout
end
local state = rollout.state
if rollout.candidate == nil or not (state == "Rolling" or state == "Promoting" or state == "Baking") then
  error("there is no rollout to abort", 0)
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["microservice.dev/abort"] = rollout.candidate .. "/" .. rollout.trial
return obj
